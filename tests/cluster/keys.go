package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// keyring makes the throw-away keys of one cluster; the folder dies with the run.
type keyring struct {
	dir     string
	serial  int64
	ca      *x509.Certificate
	caKey   *ecdsa.PrivateKey
	caBytes []byte
}

// newKeyring makes the authority that signs everything else, and the key pair of the ServiceAccount tokens.
func newKeyring(dir string) (*keyring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &keyring{dir: dir, caKey: key}
	template := k.template("test-cluster", nil)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.ExtKeyUsage = nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if k.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	k.caBytes = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(k.path("ca.crt"), k.caBytes, 0o600); err != nil {
		return nil, err
	}
	if _, err := k.writeKey("ca.key", key); err != nil {
		return nil, err
	}
	return k, k.serviceAccountKeys()
}

func (k *keyring) path(name string) string { return filepath.Join(k.dir, name) }

func (k *keyring) template(name string, groups []string) *x509.Certificate {
	k.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(k.serial),
		Subject:      pkix.Name{CommonName: name, Organization: groups},
		// An hour back: the clock of a client may be a little behind.
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(30 * 24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func (k *keyring) serviceAccountKeys() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if _, err := k.writeKey("sa.key", key); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return os.WriteFile(k.path("sa.pub"), public, 0o600)
}

func (k *keyring) writeKey(file string, key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return data, os.WriteFile(k.path(file), data, 0o600)
}

// leaf signs a certificate and writes file.crt and file.key.
func (k *keyring) leaf(file string, template *x509.Certificate) (certificate, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, k.ca, key.Public(), k.caKey)
	if err != nil {
		return nil, nil, err
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(k.path(file+".crt"), certificate, 0o600); err != nil {
		return nil, nil, err
	}
	private, err = k.writeKey(file+".key", key)
	return certificate, private, err
}

// server makes the certificate that the API server shows.
func (k *keyring) server() error {
	template := k.template("kube-apiserver", nil)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(apiAddress), net.ParseIP(nodeAddress)}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	_, _, err := k.leaf("apiserver", template)
	return err
}

// node makes the certificate that the kubelet shows, and the one by which the API server comes to it.
func (k *keyring) node() error {
	template := k.template("system:node:"+nodeName, []string{"system:nodes"})
	template.IPAddresses = []net.IP{net.ParseIP(nodeAddress)}
	template.DNSNames = []string{nodeName}
	_, _, err := k.leaf("node", template)
	if err != nil {
		return err
	}
	_, _, err = k.leaf("kubelet-client", k.template("kubelet-client", []string{"system:masters"}))
	return err
}

// kubeconfig makes a client certificate for a user and the kubeconfig that carries it.
func (k *keyring) kubeconfig(file, server, user string, groups ...string) error {
	certificate, private, err := k.leaf(user, k.template(user, groups))
	if err != nil {
		return fmt.Errorf("keys of %s: %w", user, err)
	}
	config := api.NewConfig()
	config.Clusters["test"] = &api.Cluster{Server: server, CertificateAuthorityData: k.caBytes}
	config.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: certificate, ClientKeyData: private}
	config.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: user}
	config.CurrentContext = "test"
	return clientcmd.WriteToFile(*config, file)
}
