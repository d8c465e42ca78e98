package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// startLimit is generous: on a busy machine the API server alone has taken more than ten seconds.
	startLimit = 2 * time.Minute
	// stopGrace is short: nothing of this cluster is worth saving.
	stopGrace = 3 * time.Second
	pollEvery = 50 * time.Millisecond
	// fakeNode marks the nodes that kwok plays.
	fakeNode = "kwok.x-k8s.io/node"
)

// cluster is one control plane: its processes are in the order of their start.
type cluster struct {
	options   *options
	began     time.Time
	etcd      string
	peer      string
	apiPort   int
	server    string
	client    kubernetes.Interface
	processes []*process
}

// newCluster chooses ports and makes keys and kubeconfigs.
func newCluster(o *options) (*cluster, error) {
	c := &cluster{options: o, began: time.Now()}
	ports := [3]int{}
	for i := range ports {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		ports[i] = port
	}
	c.etcd = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	c.peer = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	c.apiPort = ports[2]
	if o.node {
		// The port of the ClusterIP, which the API server owns.
		c.apiPort = 443
	}
	c.server = fmt.Sprintf("https://127.0.0.1:%d", c.apiPort)
	if err := c.makeKeys(); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.path("admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	c.client, err = kubernetes.NewForConfig(config)
	return c, err
}

func (c *cluster) path(name string) string { return filepath.Join(c.options.dir, name) }

func (c *cluster) makeKeys() error {
	keys, err := newKeyring(c.path("keys"))
	if err != nil {
		return err
	}
	return errors.Join(
		keys.server(),
		keys.kubeconfig(c.path("admin.kubeconfig"), c.server, "admin", "system:masters"),
		keys.kubeconfig(c.path("keys/kcm.kubeconfig"), c.server, "system:kube-controller-manager"),
		keys.kubeconfig(c.path("keys/scheduler.kubeconfig"), c.server, "system:kube-scheduler"),
		keys.kubeconfig(c.path("keys/kwok.kubeconfig"), c.server, "kwok", "system:masters"),
		keys.node(),
		keys.kubeconfig(c.path("keys/node.kubeconfig"), c.server, "system:node:"+nodeName, "system:nodes"),
		keys.kubeconfig(c.path("keys/proxy.kubeconfig"), c.server, "system:kube-proxy"),
	)
}

// start brings up everything and returns when a pod could run.
func (c *cluster) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := c.launch("etcd", c.etcdArgs()); err != nil {
		return err
	}
	// The API server waits for etcd by itself.
	if err := c.launch("kube-apiserver", c.apiServerArgs()); err != nil {
		return err
	}
	if c.options.node {
		if err := c.startContainerd(); err != nil {
			return err
		}
	}
	if err := c.awaitServer(ctx); err != nil || c.options.bare {
		return err
	}
	if c.options.node {
		return c.startWithNode(ctx)
	}
	kwok, err := c.kwokArgs()
	if err != nil {
		return err
	}
	if err := errors.Join(
		c.launch("kube-controller-manager", c.controllerManagerArgs()),
		c.launch("kube-scheduler", c.schedulerArgs()),
		c.launch("kwok", kwok),
		c.makeNodes(ctx),
	); err != nil {
		return err
	}
	if err := c.await(ctx, "the default ServiceAccount", c.serviceAccountThere); err != nil {
		return err
	}
	return c.await(ctx, "the fake nodes to be Ready", c.nodesReady)
}

// startWithNode goes on with a real node where the API server is ready.
func (c *cluster) startWithNode(ctx context.Context) error {
	if err := errors.Join(
		c.launch("kube-controller-manager", c.controllerManagerArgs()),
		c.launch("kube-scheduler", c.schedulerArgs()),
		c.startNode(),
		c.loadImages(ctx),
	); err != nil {
		return err
	}
	if err := c.await(ctx, "the default ServiceAccount", c.serviceAccountThere); err != nil {
		return err
	}
	return c.await(ctx, "the node to be Ready", c.nodesReady)
}

func (c *cluster) launch(name string, args []string) error {
	program, given := c.options.programs[name]
	if !given {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		program = filepath.Join(filepath.Dir(self), name)
	}
	return c.launchFrom(name, program, args)
}

func (c *cluster) launchFrom(name, program string, args []string) error {
	p := &process{name: name, program: program, args: args, log: c.path("logs/" + name + ".log")}
	if c.options.node {
		p.path = c.options.tools
	}
	c.processes = append(c.processes, p)
	return p.start()
}

// stop ends the clients of the API server together, then the API server, then etcd: an API server that loses its
// etcd first lingers.
func (c *cluster) stop() {
	var clients sync.WaitGroup
	for _, p := range c.processes[min(2, len(c.processes)):] {
		clients.Go(func() { p.stop(stopGrace) })
	}
	clients.Wait()
	for i := min(2, len(c.processes)) - 1; i >= 0; i-- {
		c.processes[i].stop(stopGrace)
	}
}

// deaths tells the first program that ended without being asked to.
func (c *cluster) deaths() <-chan *process {
	dead := make(chan *process, len(c.processes))
	for _, p := range c.processes {
		gone := p.gone
		go func() {
			<-gone
			dead <- p
		}()
	}
	return dead
}

// await polls until the condition holds; a program that died meanwhile is the error.
func (c *cluster) await(ctx context.Context, what string, holds func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return nil
		}
		for _, p := range c.processes {
			if !p.running() {
				return p.failure("ended while the cluster started")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			culprit := c.processes[len(c.processes)-1]
			return fmt.Errorf("waiting for %s: %w (last answer: %w); %w", what, ctx.Err(), err, culprit.failure("was started last"))
		}
	}
}

func (c *cluster) awaitServer(ctx context.Context) error {
	return c.await(ctx, "the API server", func(ctx context.Context) error {
		_, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

func (c *cluster) serviceAccountThere(ctx context.Context) error {
	_, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", meta.GetOptions{})
	return err
}

func (c *cluster) makeNodes(ctx context.Context) error {
	for i := range c.options.nodes {
		name := fmt.Sprintf("node-%d", i+1)
		node := &core.Node{ObjectMeta: meta.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{fakeNode: "fake"},
			Labels: map[string]string{
				"kubernetes.io/hostname": name,
				"kubernetes.io/os":       "linux",
				"kubernetes.io/arch":     "amd64",
			},
		}}
		if _, err := c.client.CoreV1().Nodes().Create(ctx, node, meta.CreateOptions{}); err != nil {
			return fmt.Errorf("node %s: %w", name, err)
		}
	}
	return nil
}

func (c *cluster) nodesReady(ctx context.Context) error {
	nodes, err := c.client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	if len(nodes.Items) == 0 {
		return errors.New("no node has registered yet")
	}
	for _, node := range nodes.Items {
		// The taint goes a moment after the node is Ready; a pod could not be scheduled before.
		if !ready(&node) || len(node.Spec.Taints) > 0 {
			return fmt.Errorf("node %s is not ready yet", node.Name)
		}
	}
	return nil
}

func ready(node *core.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == core.NodeReady {
			return condition.Status == core.ConditionTrue
		}
	}
	return false
}
