package objstoretest_test

import (
	"testing"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) objstore.Bucket{
		"memory":   func(*testing.T) objstore.Bucket { return objstoretest.NewMemory() },
		"faulty":   func(*testing.T) objstore.Bucket { return objstoretest.NewFaulty(objstoretest.NewMemory()) },
		"crashing": func(*testing.T) objstore.Bucket { return objstoretest.NewCrashing(objstoretest.NewMemory(), -1) },
		"recorder": func(*testing.T) objstore.Bucket { return objstoretest.NewRecorder(objstoretest.NewMemory()) },
		"prefix": func(*testing.T) objstore.Bucket {
			return objstore.WithPrefix(objstoretest.NewMemory(), "/some/prefix/")
		},
	} {
		t.Run(name, func(t *testing.T) { objstoretest.TestBucket(t, open) })
	}
}
