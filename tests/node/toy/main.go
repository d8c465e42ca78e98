// Package main is a component of a toy platform: a real process that takes its time to start and to end, and says what it
// is. Its image says in /component.json which component and version it plays. With the argument "pause" it is what holds
// the namespaces of a pod, and does nothing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// identity is what /component.json and /version say.
type identity struct {
	Component string `json:"component"`
	Version   string `json:"version"`
}

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "pause" {
		pause()
	} else {
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "toy:", err)
		os.Exit(1)
	}
}

// pause waits for the end, and reaps what loses its parent meanwhile.
func pause() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// serve answers on port 8080. START_DELAY and STOP_DELAY, durations such as 2s, say how long it is not ready after its
// start, and how long it still answers after it was asked to end.
func serve() error {
	content, err := os.ReadFile("/component.json")
	if err != nil {
		return err
	}
	var self identity
	if err := json.Unmarshal(content, &self); err != nil {
		return err
	}
	start, err := delay("START_DELAY")
	if err != nil {
		return err
	}
	stop, err := delay("STOP_DELAY")
	if err != nil {
		return err
	}
	var ready atomic.Bool
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { answer(w, self) })
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer(w, map[string]string{"status": "ok", "version": self.Version})
	})
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	go func() {
		select {
		case <-time.After(start):
			ready.Store(true)
			fmt.Printf("%s %s is ready\n", self.Component, self.Version)
		case <-ctx.Done():
		}
	}()
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ready.Store(false)
		time.Sleep(stop)
		limit, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		ended <- server.Shutdown(limit)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

func delay(name string) (time.Duration, error) {
	value := os.Getenv(name)
	if value == "" {
		return 0, nil
	}
	return time.ParseDuration(value)
}
