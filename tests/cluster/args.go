package main

import (
	"fmt"
	"path/filepath"
)

// Everything binds 127.0.0.1; what need not listen does not: --secure-port=0, no server of kwok.

func (c *cluster) etcdArgs() []string {
	return []string{
		"--name=test",
		"--data-dir=" + c.path("etcd"),
		"--unsafe-no-fsync",
		"--log-level=warn",
		"--listen-client-urls=" + c.etcd,
		"--advertise-client-urls=" + c.etcd,
		"--listen-peer-urls=" + c.peer,
		"--initial-advertise-peer-urls=" + c.peer,
		"--initial-cluster=test=" + c.peer,
	}
}

func (c *cluster) apiServerArgs() []string {
	keys := c.path("keys")
	reach := []string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// 127.0.0.1 may not stand in an endpoint, and nobody may dial the cluster address anyway.
		"--endpoint-reconciler-type=none",
	}
	if c.options.node {
		reach = []string{
			"--bind-address=0.0.0.0",
			"--advertise-address=" + nodeAddress,
			// Webhooks by service are dialled at the addresses of their pods.
			"--enable-aggregator-routing=true",
			"--kubelet-preferred-address-types=InternalIP",
			"--kubelet-certificate-authority=" + keys + "/ca.crt",
			"--kubelet-client-certificate=" + keys + "/kubelet-client.crt",
			"--kubelet-client-key=" + keys + "/kubelet-client.key",
		}
	}
	args := append(reach,
		"--etcd-servers="+c.etcd,
		fmt.Sprintf("--secure-port=%d", c.apiPort),
		"--tls-cert-file="+keys+"/apiserver.crt",
		"--tls-private-key-file="+keys+"/apiserver.key",
		"--client-ca-file="+keys+"/ca.crt",
		"--service-account-key-file="+keys+"/sa.pub",
		"--service-account-signing-key-file="+keys+"/sa.key",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range="+serviceRange,
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--enable-admission-plugins=NodeRestriction",
		"--profiling=false",
		"--v=1",
	)
	if c.options.audit != "" {
		// In blocking mode, the default, an answer is sent when its line is written.
		args = append(args, "--audit-policy-file="+c.options.audit, "--audit-log-path="+c.path("logs/audit.log"))
	}
	return args
}

func (c *cluster) controllerManagerArgs() []string {
	keys := c.path("keys")
	config := keys + "/kcm.kubeconfig"
	return []string{
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		"--secure-port=0",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + keys + "/sa.key",
		"--root-ca-file=" + keys + "/ca.crt",
		"--cluster-signing-cert-file=" + keys + "/ca.crt",
		"--cluster-signing-key-file=" + keys + "/ca.key",
		// The default of 20 requests a second is most of the start, and slows many tests side by side.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
		"--v=1",
	}
}

func (c *cluster) schedulerArgs() []string {
	config := c.path("keys/scheduler.kubeconfig")
	return []string{
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		"--secure-port=0",
		"--leader-elect=false",
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
		"--v=1",
	}
}

func (c *cluster) kwokArgs() ([]string, error) {
	stages, err := filepath.Glob(filepath.Join(c.options.stages, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		return nil, fmt.Errorf("no Stage files in %s", c.options.stages)
	}
	args := []string{
		"--kubeconfig=" + c.path("keys/kwok.kubeconfig"),
		"--manage-all-nodes=false",
		"--manage-nodes-with-annotation-selector=" + fakeNode + "=fake",
		"--node-lease-duration-seconds=40",
		// Without a server address kwok listens nowhere.
		"--server-address=",
		"--node-port=0",
		// What the fake nodes and pods call their own: addresses set aside for documentation and benchmarks (RFC 5737,
		// RFC 2544), so that nobody real is dialled by mistake.
		"--node-ip=192.0.2.1",
		"--cidr=198.18.0.1/16",
	}
	for _, stage := range stages {
		args = append(args, "--config="+stage)
	}
	return args, nil
}
