// SPDX-License-Identifier: Apache-2.0

// Package deviceplugin hands device nodes of this machine to unprivileged pods: what a vendor's device plugin does, as far as
// the tests need it. Each node of -each is one unit of the resource; those of -with go along with any.
package deviceplugin

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	each map[string]string // a unit's name to its node
	with []string
}

func (*plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// All are healthy as long as this program runs.
func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	answer := &api.ListAndWatchResponse{}
	for name := range p.each {
		answer.Devices = append(answer.Devices, &api.Device{ID: name, Health: api.Healthy})
	}
	if err := stream.Send(answer); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func spec(path string) *api.DeviceSpec {
	return &api.DeviceSpec{ContainerPath: path, HostPath: path, Permissions: "rw"}
}

func (p *plugin) Allocate(_ context.Context, asked *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, container := range asked.ContainerRequests {
		one := &api.ContainerAllocateResponse{}
		for _, name := range container.DevicesIDs {
			path, known := p.each[name]
			if !known {
				return nil, fmt.Errorf("there is no device %s", name)
			}
			one.Devices = append(one.Devices, spec(path))
		}
		for _, path := range p.with {
			one.Devices = append(one.Devices, spec(path))
		}
		answer.ContainerResponses = append(answer.ContainerResponses, one)
	}
	return answer, nil
}

func register(folder, socket, resource string) error {
	connection, err := grpc.NewClient("unix://"+filepath.Join(folder, "kubelet.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	limit, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = api.NewRegistrationClient(connection).Register(limit, &api.RegisterRequest{
		Version: api.Version, Endpoint: socket, ResourceName: resource}, grpc.WaitForReady(true))
	return err
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(one rune) bool { return one == ',' })
}

func run() error {
	folder := flag.String("folder", "/var/lib/kubelet/device-plugins", "where the kubelet listens")
	resource := flag.String("resource", "nvidia.com/gpu", "what pods ask for")
	each := flag.String("each", "", "device nodes, one a unit, with commas between")
	with := flag.String("with", "", "device nodes that every unit comes with")
	flag.Parse()
	p := &plugin{each: map[string]string{}, with: words(*with)}
	for _, path := range words(*each) {
		p.each[filepath.Base(path)] = path
	}
	socket := "stasis-tests.sock"
	_ = os.Remove(filepath.Join(*folder, socket))
	listener, err := net.Listen("unix", filepath.Join(*folder, socket))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go func() {
		if err := register(*folder, socket, *resource); err != nil {
			fmt.Fprintln(os.Stderr, "device-plugin: the kubelet did not take it:", err)
			os.Exit(1)
		}
	}()
	return server.Serve(listener)
}

// Main is the program.
func Main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "device-plugin:", err)
		os.Exit(1)
	}
}
