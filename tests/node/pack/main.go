// Package main makes an archive of container images in the OCI layout, without a registry or a daemon: "pack OUT" reads
// what to make as JSON from its standard input.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
)

// image is one image. Its layers are folders, whose content becomes the root, or the text of a file by its path.
type image struct {
	Name   string            `json:"name"`
	Roots  []string          `json:"roots"`
	Files  map[string]string `json:"files"`
	Config map[string]any    `json:"config"`
}

// descriptor names a blob, as the OCI image specification has it.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// archive is the file that is made; a blob is written once.
type archive struct {
	out   *tar.Writer
	blobs map[string]descriptor
	roots map[string]descriptor
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: pack OUT <images.json")
	}
	var images []image
	if err := json.NewDecoder(os.Stdin).Decode(&images); err != nil {
		return err
	}
	file, err := os.Create(os.Args[1])
	if err != nil {
		return err
	}
	defer file.Close()
	a := &archive{out: tar.NewWriter(file), blobs: map[string]descriptor{}, roots: map[string]descriptor{}}
	var manifests []descriptor
	for _, image := range images {
		manifest, err := a.image(image)
		if err != nil {
			return fmt.Errorf("%s: %w", image.Name, err)
		}
		manifests = append(manifests, manifest)
	}
	index := map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
	}
	if err := a.json("index.json", index); err != nil {
		return err
	}
	if err := a.json("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	return a.out.Close()
}

func (a *archive) image(image image) (descriptor, error) {
	var layers []descriptor
	for _, root := range image.Roots {
		layer, known := a.roots[root]
		if !known {
			content, err := tarOf(root)
			if err != nil {
				return layer, err
			}
			if layer, err = a.blob("application/vnd.oci.image.layer.v1.tar", content); err != nil {
				return layer, err
			}
			a.roots[root] = layer
		}
		layers = append(layers, layer)
	}
	if len(image.Files) > 0 {
		content, err := tarOfTexts(image.Files)
		if err != nil {
			return descriptor{}, err
		}
		layer, err := a.blob("application/vnd.oci.image.layer.v1.tar", content)
		if err != nil {
			return layer, err
		}
		layers = append(layers, layer)
	}
	// The layers are not compressed, so their digests are those of their content.
	contents := make([]string, len(layers))
	for i, layer := range layers {
		contents[i] = layer.Digest
	}
	config, err := a.marshalled("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": image.Config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": contents},
	})
	if err != nil {
		return config, err
	}
	manifest, err := a.marshalled("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers,
	})
	manifest.Annotations = map[string]string{"io.containerd.image.name": image.Name}
	return manifest, err
}

func (a *archive) marshalled(media string, value any) (descriptor, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return descriptor{}, err
	}
	return a.blob(media, content)
}

func (a *archive) blob(media string, content []byte) (descriptor, error) {
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:])
	if known, written := a.blobs[name]; written {
		return known, nil
	}
	made := descriptor{MediaType: media, Digest: "sha256:" + name, Size: len(content)}
	a.blobs[name] = made
	return made, a.file("blobs/sha256/"+name, content)
}

func (a *archive) json(name string, value any) error {
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return a.file(name, content)
}

func (a *archive) file(name string, content []byte) error {
	header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX}
	if err := a.out.WriteHeader(header); err != nil {
		return err
	}
	_, err := a.out.Write(content)
	return err
}

// tarOf packs a folder: owned by root, readable by all, the same bytes each time.
func tarOf(root string) ([]byte, error) {
	var buffer bytes.Buffer
	out := tar.NewWriter(&buffer)
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == root {
			return err
		}
		target := ""
		if info.Mode()&os.ModeSymlink != 0 {
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		header.Name = relative
		header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
		header.ModTime, header.AccessTime, header.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
		header.Mode |= 0o444
		if info.IsDir() || info.Mode()&0o100 != 0 {
			header.Mode |= 0o111
		}
		if err := out.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(out, file)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = out.Close()
	return buffer.Bytes(), err
}

func tarOfTexts(files map[string]string) ([]byte, error) {
	var buffer bytes.Buffer
	out := tar.NewWriter(&buffer)
	paths := make([]string, 0, len(files))
	for path := range files {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		header := &tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o644, Size: int64(len(files[path]))}
		if err := out.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := out.Write([]byte(files[path])); err != nil {
			return nil, err
		}
	}
	err := out.Close()
	return buffer.Bytes(), err
}
