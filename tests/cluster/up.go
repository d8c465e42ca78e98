package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const upUsage = `usage: cluster up [--dir DIR] [--stages DIR] [--nodes N] [--without-controllers] [--audit-policy FILE]
                  [--program NAME=PATH]...
       cluster up --node --tools DIR [--image ARCHIVE]... [--dir DIR] [--audit-policy FILE] [--program NAME=PATH]...

Starts a Kubernetes control plane on 127.0.0.1, prints one line of JSON when it is ready, and stops everything when
its standard input ends. Commands, one a line on standard input: "restart NAME" (answered by a line of JSON).

With --node there is a real node (containerd, kubelet, kube-proxy) and no fake one, all in namespaces of their own
without a way out; "pid" of the JSON tells a process in them. Needs root.
`

type options struct {
	dir      string
	keep     bool
	stages   string
	nodes    int
	bare     bool
	audit    string
	programs map[string]string
	// The next are for a real node: the folder of containerd and its like, archives of images, the node's cgroup.
	node   bool
	tools  string
	images []string
	cgroup string
}

func (o *options) path(name string) string { return filepath.Join(o.dir, name) }

func (o *options) tool(name string) string { return filepath.Join(o.tools, name) }

// report is the line that says the cluster is ready.
type report struct {
	Dir        string         `json:"dir"`
	Kubeconfig string         `json:"kubeconfig"`
	Server     string         `json:"server"`
	Etcd       string         `json:"etcd"`
	Logs       string         `json:"logs"`
	Pids       map[string]int `json:"pids"`
	// Pid is the supervisor's on the host, with a real node: its namespaces are the cluster's.
	Pid     int     `json:"pid,omitempty"`
	Seconds float64 `json:"seconds"`
}

// runCluster is "cluster up", and what that starts as other processes.
func runCluster(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "init":
			return runInit(args[1:])
		case "janitor":
			return runJanitor(args[1:])
		}
	}
	options, err := parseOptions(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n%s", err, upUsage)
		return 2
	}
	if options.node && options.cgroup == "" {
		err = runNode(options, args[1:])
	} else {
		err = up(options)
	}
	switch {
	case errors.Is(err, errSaid):
		return 1
	case err != nil:
		answer(map[string]string{"error": err.Error()})
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
	return 0
}

func parseOptions(args []string) (_ *options, err error) {
	if len(args) == 0 || args[0] != "up" && args[0] != "inside" {
		return nil, errors.New("the only command is up")
	}
	o := &options{programs: map[string]string{}}
	flags := flag.NewFlagSet("cluster up", flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	flags.StringVar(&o.dir, "dir", "", "run folder, kept at the end; default: a temporary one, removed at the end")
	flags.StringVar(&o.stages, "stages", "", "folder of kwok Stage files: what the fake nodes and pods do")
	flags.IntVar(&o.nodes, "nodes", 2, "how many fake nodes")
	flags.BoolVar(&o.bare, "without-controllers", false, "only etcd and the API server")
	flags.BoolVar(&o.node, "node", false, "a real node in namespaces of its own, and no fake one")
	flags.StringVar(&o.tools, "tools", "", "folder of containerd, runc, nft and CNI plugins, for --node")
	flags.StringVar(&o.cgroup, "cgroup", "", "the node's cgroup: given by cluster up --node to itself")
	flags.Func("image", "ARCHIVE: an image for --node, as OCI archive", func(value string) error {
		path, err := filepath.Abs(value)
		o.images = append(o.images, path)
		return err
	})
	flags.StringVar(&o.audit, "audit-policy", "", "the API server's audit policy; what it notes is in logs/audit.log")
	flags.Func("program", "NAME=PATH: take this program from elsewhere", func(value string) error {
		name, path, found := strings.Cut(value, "=")
		if !found {
			return errors.New("want NAME=PATH")
		}
		o.programs[name] = path
		return nil
	})
	if err = flags.Parse(args[1:]); err != nil {
		return nil, err
	}
	if o.node {
		if o.tools, err = filepath.Abs(o.tools); err != nil || o.bare {
			return nil, errors.New("--node needs --tools, and controllers")
		}
		return o, o.prepareDir()
	}
	if o.stages == "" && !o.bare {
		return nil, errors.New("--stages is missing: without Stages the fake nodes do nothing")
	}
	return o, o.prepareDir()
}

func (o *options) prepareDir() (err error) {
	o.keep = o.dir != ""
	if !o.keep {
		o.dir, err = os.MkdirTemp("", "test-cluster-")
		return err
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	return os.MkdirAll(o.dir, 0o700)
}

// up keeps a cluster running until standard input ends, a signal comes or one of its programs dies.
func up(o *options) error {
	// The children die with the thread that started them: see process.start.
	runtime.LockOSThread()
	if !o.keep {
		defer os.RemoveAll(o.dir)
	}
	pid := 0
	if o.node {
		var err error
		if pid, err = enter(o); err != nil {
			return err
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	// A parent that died shall not kill the supervisor by its broken pipe, before it has tidied up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	commands := make(chan string)
	go readCommands(ctx, cancel, commands)

	c, err := startCluster(ctx, o)
	if c != nil {
		defer func() { c.stop() }()
	}
	if err != nil {
		if ctx.Err() != nil {
			// Whoever asked for the cluster is gone: that is an end, not a failure.
			return nil
		}
		return err
	}
	report := c.report()
	report.Pid = pid
	answer(report)
	for {
		select {
		case <-ctx.Done():
			return nil
		case dead := <-c.deaths():
			return dead.failure("ended by itself")
		case command := <-commands:
			if err := c.obey(ctx, command); err != nil {
				answer(map[string]string{"error": err.Error()})
			} else {
				answer(map[string]string{"done": command})
			}
		}
	}
}

// startCluster tries again when another program was faster to take one of the ports.
func startCluster(ctx context.Context, o *options) (*cluster, error) {
	for attempt := 1; ; attempt++ {
		c, err := newCluster(o)
		if err != nil {
			return nil, err
		}
		if err = c.start(ctx); err == nil || attempt == 3 || !errors.Is(err, errPortTaken) {
			return c, err
		}
		c.stop()
		if err := os.RemoveAll(c.path("etcd")); err != nil {
			return nil, err
		}
	}
}

// readCommands ends the run when standard input does: the one sign of a dead parent that no signal can suppress.
func readCommands(ctx context.Context, cancel context.CancelFunc, commands chan<- string) {
	defer cancel()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		select {
		case commands <- strings.TrimSpace(lines.Text()):
		case <-ctx.Done():
			return
		}
	}
}

// answer writes one line of JSON; a reader that went away is noticed on standard input.
func answer(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return
	}
	fmt.Println(string(line))
}

// obey carries out one command of standard input.
func (c *cluster) obey(ctx context.Context, command string) error {
	name, found := strings.CutPrefix(command, "restart ")
	if !found {
		return fmt.Errorf("unknown command %q", command)
	}
	for _, p := range c.processes {
		if p.name != name {
			continue
		}
		p.stop(stopGrace)
		if err := p.start(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		return c.awaitServer(ctx)
	}
	return fmt.Errorf("no program %q in this cluster", name)
}

func (c *cluster) report() report {
	pids := map[string]int{}
	for _, p := range c.processes {
		pids[p.name] = p.command.Process.Pid
	}
	return report{
		Dir:        c.options.dir,
		Kubeconfig: c.path("admin.kubeconfig"),
		Server:     c.server,
		Etcd:       c.etcd,
		Logs:       c.path("logs"),
		Pids:       pids,
		Seconds:    time.Since(c.began).Seconds(),
	}
}
