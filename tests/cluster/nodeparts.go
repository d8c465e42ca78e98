package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// The parts of a node: containerd, images, kubelet, kube-proxy.

// nodeName is the only real node.
const nodeName = "node-1"

// pauseImage holds the namespaces of a pod. The host part is needed: without one containerd looks for another name.
const pauseImage = "docker.io/local/pause:1"

const containerdConfig = `version = 2
root = "{dir}/node/containerd"
state = "/run/containerd"
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{tools}/cni"
    conf_dir = "{dir}/node/cni"
`

// Point-to-point and no bridge: what a pod sends to another one passes the node, so the answers of a Service come from its
// address with no help of br_netfilter.
const cniConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "ranges": [[{"subnet": "{pods}"}]],
  "dataDir": "{dir}/node/cni-addresses", "routes": [{"dst": "0.0.0.0/0"}]}}]}
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
# Since 1.35 a kubelet does not start on cgroup v1 without being told to.
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupsPerQOS: true
cgroupRoot: /{cgroup}
failSwapOn: false
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
# The same as --node-ip, or logs and exec break.
address: {node}
readOnlyPort: 0
containerRuntimeEndpoint: unix://{dir}/containerd.sock
imageServiceEndpoint: unix://{dir}/containerd.sock
tlsCertFile: {dir}/keys/node.crt
tlsPrivateKeyFile: {dir}/keys/node.key
volumePluginDir: {dir}/node/plugins
resolvConf: ""
# There is no cluster DNS.
clusterDNS: []
# The default of ten seconds is most of the start.
nodeStatusUpdateFrequency: 1s
serializeImagePulls: false
eventRecordQPS: 0
kubeAPIQPS: 500
kubeAPIBurst: 1000
# The disk of whoever runs the tests is no business of theirs.
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
authentication:
  anonymous: {enabled: false}
  x509: {clientCAFile: {dir}/keys/ca.crt}
  webhook: {enabled: true}
authorization: {mode: Webhook}
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: {dir}/keys/proxy.kubeconfig}
clusterCIDR: {pods}
bindAddress: {node}
hostnameOverride: {name}
healthzBindAddress: ""
metricsBindAddress: ""
# Limits of the whole machine are left alone.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {syncPeriod: 5s, minSyncPeriod: 100ms}
`

// writeNodeFiles writes what the parts of the node read.
func (c *cluster) writeNodeFiles() error {
	o := c.options
	values := strings.NewReplacer("{dir}", o.dir, "{tools}", o.tools, "{cgroup}", o.cgroup, "{pause}", pauseImage,
		"{node}", nodeAddress, "{pods}", podRange, "{name}", nodeName)
	write := func(name, content string) error {
		return os.WriteFile(c.path(name), []byte(values.Replace(content)), 0o600)
	}
	return errors.Join(
		os.MkdirAll(c.path("node/cni"), 0o755),
		write("node/containerd.toml", containerdConfig),
		write("node/cni/pods.conflist", cniConfig),
		write("node/kubelet.yaml", kubeletConfig),
		write("node/proxy.yaml", proxyConfig),
	)
}

// startContainerd can go on while the control plane starts; loadImages waits for it.
func (c *cluster) startContainerd() error {
	if err := c.writeNodeFiles(); err != nil {
		return err
	}
	return c.launchFrom("containerd", c.options.tool("containerd"), []string{"--config", c.path("node/containerd.toml")})
}

// taggedName is the name of an image as people write it; containerd also lists digests and ids.
var taggedName = regexp.MustCompile(`^[^@]+/[^/@]+:[^:@]+$`)

// loadImages imports the archives, and gives each image a second name by its digest, as one that was pulled has: that is
// what the status of a pod tells as imageID.
func (c *cluster) loadImages(ctx context.Context) error {
	if err := c.await(ctx, "containerd", func(context.Context) error {
		_, err := c.ctr("plugins", "ls")
		return err
	}); err != nil {
		return err
	}
	for _, archive := range c.options.images {
		if _, err := c.ctr("images", "import", archive); err != nil {
			return err
		}
	}
	listing, err := c.ctr("images", "ls")
	if err != nil {
		return err
	}
	for line := range strings.Lines(listing) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[2], "sha256:") || !taggedName.MatchString(fields[0]) {
			continue
		}
		repository := fields[0][:strings.LastIndex(fields[0], ":")]
		if _, err := c.ctr("images", "tag", "--force", fields[0], repository+"@"+fields[2]); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) ctr(args ...string) (string, error) {
	command := exec.Command(c.options.tool("ctr"),
		append([]string{"--address", c.path("containerd.sock"), "--namespace", "k8s.io"}, args...)...)
	var told bytes.Buffer
	command.Stderr = &told
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, told.String())
	}
	return string(output), nil
}

// startNode starts the kubelet and kube-proxy.
func (c *cluster) startNode() error {
	return errors.Join(
		c.launch("kubelet", []string{
			"--config=" + c.path("node/kubelet.yaml"),
			"--kubeconfig=" + c.path("keys/node.kubeconfig"),
			"--hostname-override=" + nodeName,
			"--node-ip=" + nodeAddress,
			"--root-dir=" + c.path("node/kubelet"),
			"--cert-dir=" + c.path("keys"),
			"--v=1",
		}),
		c.launch("kube-proxy", []string{"--config=" + c.path("node/proxy.yaml"), "--v=1"}),
	)
}
