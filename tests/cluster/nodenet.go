package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
)

const (
	// nodeAddress is the node's; what runs on it and is no pod listens there.
	nodeAddress = "10.99.0.1"
	// apiAddress is the ClusterIP of the API server, which owns it: pods reach it whatever becomes of kube-proxy.
	apiAddress   = "10.96.0.1"
	serviceRange = "10.96.0.0/16"
	podRange     = "10.244.0.0/24"
)

// enter makes the namespaces habitable: mounts that nobody else sees, and a network that leads nowhere. It returns the
// process id by which the host knows this process.
func enter(o *options) (int, error) {
	// This file system still belongs to the host: it speaks of the host's ids.
	link, err := os.Readlink("/proc/self")
	if err != nil {
		return 0, err
	}
	host, err := strconv.Atoi(link)
	if err != nil {
		return 0, err
	}
	if err := setMounts(o); err != nil {
		return 0, fmt.Errorf("mounts of the node: %w", err)
	}
	if err := setNetwork(); err != nil {
		return 0, fmt.Errorf("network of the node: %w", err)
	}
	return host, errors.Join(
		// Pods reach the API server, one another and Services through the node.
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644),
	)
}

func setMounts(o *options) error {
	for _, taken := range []string{"/run/", "/var/run/", "/var/lib/", "/var/log/"} {
		if strings.HasPrefix(o.dir+"/", taken) || strings.HasPrefix(o.tools+"/", taken) {
			return fmt.Errorf("the node has a %s of its own: neither --dir nor --tools may be in it", taken)
		}
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private: %w", err)
	}
	plain := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if err := syscall.Mount("proc", "/proc", "proc", plain|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	// Sockets, locks and network namespaces of containerd, wherever its parts put them.
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", plain, "mode=755"); err != nil {
		return fmt.Errorf("/run: %w", err)
	}
	for _, name := range []string{"lib", "log"} {
		own := o.path("node/" + name)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(own, filepath.Join("/var", name), "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("/var/%s: %w", name, err)
		}
	}
	// The kubelet's mounts have to reach its pods.
	return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, "")
}

// setNetwork makes a bridge with the node's addresses, and refuses to go on where there is a way out.
func setNetwork() error {
	if err := noWayOut(); err != nil {
		return err
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	// A bridge and no dummy interface: some kernels have none.
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "node"}}
	if err := errors.Join(netlink.LinkSetUp(loopback), netlink.LinkAdd(bridge)); err != nil {
		return err
	}
	for _, address := range []string{nodeAddress + "/24", apiAddress + "/32"} {
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(bridge, parsed); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return err
	}
	// What is on the node and in no pod needs a route before kube-proxy's rules send it elsewhere.
	_, services, err := net.ParseCIDR(serviceRange)
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: bridge.Attrs().Index, Dst: services, Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("%s: %w", serviceRange, err)
	}
	return noWayOut()
}

// noWayOut is the rule of this variant: addresses of the cluster must not reach anyone who is not in it.
func noWayOut() error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, route := range routes {
		if route.Dst == nil || route.Dst.IP.Equal(net.IPv4zero) || route.Dst.IP.Equal(net.IPv6zero) {
			return errors.New("there is a default route: this is no network of its own")
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		if name := link.Attrs().Name; name != "lo" && name != "node" && link.Type() != "sit" && link.Type() != "ipip" {
			return fmt.Errorf("there is an interface %s: this is no network of its own", name)
		}
	}
	return nil
}
