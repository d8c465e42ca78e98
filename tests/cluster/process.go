package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// logTail is how much of a log an error message shows.
const logTail = 2000

// process is one program of the cluster and the way to start it again.
type process struct {
	name    string
	program string
	args    []string
	log     string
	// path is a folder of programs that this one calls, before those of PATH.
	path    string
	command *exec.Cmd
	// gone is closed when the program has ended and been reaped.
	gone chan struct{}
}

// start runs the program. Call it on the thread that lives as long as the supervisor: the kernel sends Pdeathsig
// when the thread that started the child ends, not when the process does.
func (p *process) start() error {
	if err := os.MkdirAll(filepath.Dir(p.log), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.command = exec.Command(p.program, p.args...)
	if p.path != "" {
		p.command.Env = append(os.Environ(), "PATH="+p.path+":"+os.Getenv("PATH"))
	}
	p.command.Stdout = log
	p.command.Stderr = log
	p.command.SysProcAttr = &syscall.SysProcAttr{
		// A killed supervisor takes its children along.
		Pdeathsig: syscall.SIGKILL,
		// An interrupt from the terminal reaches the supervisor alone, which stops the programs in order.
		Setpgid: true,
	}
	if err := p.command.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	gone := make(chan struct{})
	p.gone = gone
	command := p.command
	go func() {
		_ = command.Wait()
		close(gone)
	}()
	return nil
}

// stop asks the program to end, gives it a grace time, then kills it. It returns when the program is reaped.
func (p *process) stop(grace time.Duration) {
	if p.gone == nil {
		return
	}
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(grace):
		_ = p.command.Process.Kill()
		<-p.gone
	}
}

func (p *process) running() bool {
	if p.gone == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// errPortTaken says that another program took a port between the look and the use: worth another try.
var errPortTaken = errors.New("a port was taken by another program")

// failure describes what a program said last.
func (p *process) failure(what string) error {
	log, _ := os.ReadFile(p.log)
	cause := fmt.Errorf("%s %s; the end of %s:\n%s", p.name, what, p.log, tail(log))
	if bytes.Contains(log, []byte("address already in use")) {
		return errors.Join(errPortTaken, cause)
	}
	return cause
}

func tail(log []byte) string {
	if len(log) <= logTail {
		return string(log)
	}
	cut := string(log[len(log)-logTail:])
	if _, whole, found := strings.Cut(cut, "\n"); found {
		return whole
	}
	return cut
}

// freePort finds a free port of 127.0.0.1 below the range from which the kernel takes ports for outgoing connections:
// between this look and the use only another listener could take it.
func freePort() (int, error) {
	for range 200 {
		port := 21000 + rand.IntN(9000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("no free port of 127.0.0.1 between 21000 and 30000")
}
