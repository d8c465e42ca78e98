package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A cluster with a real node lives in namespaces of its own: network (no way out), processes, mounts. When the first
// process of the process namespace ends, for whatever reason, the kernel kills all others, containers included, and with
// the last of them go the mounts, the interfaces and the rules of nftables. What the kernel keeps are cgroups and files: a
// janitor removes them, a process of its own that waits for the supervisor's end.
//
//	cluster up --node         on the host: makes cgroups, starts the other two, waits
//	├─ cluster janitor        on the host: clears away when the one above is gone
//	└─ cluster init           process 1 of the namespaces: reaps whoever is left behind
//	   └─ cluster inside      the supervisor

const (
	// cgroupPrefix begins the name of the cgroup of every cluster with a node; the supervisor's process id ends it.
	cgroupPrefix = "upgrade-guard-node-"
	cgroupFolder = "/sys/fs/cgroup"
	// clearLimit is how long the janitor waits until the kernel has killed everything.
	clearLimit = 30 * time.Second
)

// runNode is "cluster up --node" on the host.
func runNode(o *options, args []string) error {
	if os.Geteuid() != 0 {
		return errors.New("a real node needs root: it makes namespaces, cgroups and mounts")
	}
	// The children die with the thread that started them: see process.start.
	runtime.LockOSThread()
	sweepCgroups()
	name := cgroupPrefix + strconv.Itoa(os.Getpid())
	janitor, leave, err := startJanitor(o, name)
	if err != nil {
		return err
	}
	// Everything else has ended by then: closing the pipe is what the janitor waits for.
	defer func() {
		_ = leave.Close()
		_ = janitor.Wait()
	}()
	if err := makeCgroups(name); err != nil {
		return fmt.Errorf("cgroups for the node: %w (cgroups have to be mounted and writable)", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	inside := exec.Command(self, append([]string{"init", "--dir=" + o.dir, "--cgroup=" + name}, args...)...)
	inside.Args[0] = "cluster"
	inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := inside.Start(); err != nil {
		return fmt.Errorf("namespaces for the node: %w", err)
	}
	go func() {
		for range signals {
			_ = inside.Process.Signal(syscall.SIGTERM)
		}
	}()
	if err := inside.Wait(); err != nil {
		return errSaid
	}
	return nil
}

// errSaid stands for a failure that another process has told already.
var errSaid = errors.New("")

// startJanitor starts the process that clears away; it begins when the pipe is closed, by whatever.
func startJanitor(o *options, name string) (*exec.Cmd, *os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	wait, leave, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer wait.Close()
	remove := ""
	if !o.keep {
		remove = o.dir
	}
	janitor := exec.Command(self, "janitor", name, remove)
	janitor.Args[0] = "cluster"
	janitor.Stdin, janitor.Stderr = wait, os.Stderr
	// Who kills the supervisor's group or closes its terminal does not mean the janitor.
	janitor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return janitor, leave, janitor.Start()
}

// runJanitor is "cluster janitor CGROUP FOLDER".
func runJanitor(args []string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	if len(args) != 2 || !strings.HasPrefix(args[0], cgroupPrefix) {
		fmt.Fprintln(os.Stderr, "cluster janitor: this is called by cluster up --node")
		return 2
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	err := clearCgroups(args[0], clearLimit)
	if args[1] != "" {
		err = errors.Join(err, os.RemoveAll(args[1]))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster janitor:", err)
		return 1
	}
	return 0
}

// runInit is process 1 of the namespaces: it starts the supervisor and reaps whoever loses its parent.
func runInit(args []string) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster init:", err)
		return 1
	}
	child, err := syscall.ForkExec(self, append([]string{"cluster", "inside"}, args...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster init:", err)
		return 1
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for range signals {
			_ = syscall.Kill(child, syscall.SIGTERM)
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == child && status.Exited():
			return status.ExitStatus()
		case pid == child:
			return 1
		}
	}
}

// hierarchies are the folders in which a cgroup has to be made: one with cgroup v2, one for each controller with v1.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroupFolder, "cgroup.controllers")); err == nil {
		return []string{cgroupFolder}
	}
	entries, _ := os.ReadDir(cgroupFolder)
	var folders []string
	for _, entry := range entries {
		folder := filepath.Join(cgroupFolder, entry.Name())
		// Controllers that are mounted together have symbolic links besides.
		if entry.IsDir() {
			if _, err := os.Stat(filepath.Join(folder, "cgroup.procs")); err == nil {
				folders = append(folders, folder)
			}
		}
	}
	return folders
}

// makeCgroups makes the cgroup under which the kubelet puts the pods.
func makeCgroups(name string) error {
	folders := hierarchies()
	if len(folders) == 0 {
		return fmt.Errorf("none is mounted in %s", cgroupFolder)
	}
	for _, folder := range folders {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
		// With v1, a new cgroup of cpuset has no processors and no memory, and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if content, err := os.ReadFile(filepath.Join(folder, file)); err == nil {
				_ = os.WriteFile(filepath.Join(folder, name, file), content, 0o644)
			}
		}
		// With v2, controllers are handed down one by one; the kubelet says which one it lacks.
		controllers, _ := os.ReadFile(filepath.Join(folder, "cgroup.controllers"))
		for controller := range strings.FieldsSeq(string(controllers)) {
			for _, parent := range []string{folder, filepath.Join(folder, name)} {
				_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			}
		}
	}
	return nil
}

// clearCgroups removes a cgroup and all below it, as soon as their processes are gone.
func clearCgroups(name string, limit time.Duration) error {
	began := time.Now()
	for {
		var last error
		for _, folder := range hierarchies() {
			if err := removeCgroup(filepath.Join(folder, name)); err != nil {
				last = err
			}
		}
		if last == nil || time.Since(began) > limit {
			return last
		}
		time.Sleep(pollEvery)
	}
}

func removeCgroup(folder string) error {
	var folders []string
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	slices.Reverse(folders)
	for _, path := range folders {
		if gone := os.Remove(path); gone != nil && !errors.Is(gone, os.ErrNotExist) {
			err = gone
		}
	}
	return err
}

// sweepCgroups removes what a run left whose janitor was killed, too.
func sweepCgroups() {
	for _, folder := range hierarchies() {
		left, _ := filepath.Glob(filepath.Join(folder, cgroupPrefix+"*"))
		for _, path := range left {
			name := filepath.Base(path)
			pid, err := strconv.Atoi(strings.TrimPrefix(name, cgroupPrefix))
			if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				_ = removeCgroup(path)
			}
		}
	}
}
