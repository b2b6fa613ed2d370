package provider

import (
	"context"
	"fmt"
	"log/slog"

	kit "github.com/go-kit/log"
)

// Logger lets a client that logs through go-kit log to l, nil for nothing. The
// client's own words go to level debug, its warnings and errors to theirs.
func Logger(l *slog.Logger) kit.Logger {
	if l == nil {
		return kit.NewNopLogger()
	}
	return kitLogger{l}
}

type kitLogger struct{ l *slog.Logger }

// Log implements the go-kit logger: pairs of keys and values, with the message
// and the level among them.
func (k kitLogger) Log(pairs ...any) error {
	level := slog.LevelDebug
	message := "object storage client"
	var attrs []slog.Attr
	for i := 0; i < len(pairs); i += 2 {
		key := fmt.Sprint(pairs[i])
		var value any
		if i+1 < len(pairs) {
			value = pairs[i+1]
		}
		switch key {
		case "level":
			level = kitLevel(fmt.Sprint(value))
		case "msg":
			message = fmt.Sprint(value)
		default:
			attrs = append(attrs, slog.Any(key, value))
		}
	}
	k.l.LogAttrs(context.Background(), level, message, attrs...)
	return nil
}

func kitLevel(level string) slog.Level {
	switch level {
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelDebug
	}
}
