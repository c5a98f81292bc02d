// SPDX-License-Identifier: Apache-2.0

// Four programs in one, which is smaller than four: which of them it is, its name says.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/containerd/containerd/v2/cmd/ctr/app"
	"go.etcd.io/etcd/server/v3/etcdmain"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"

	"stasis/kit/deviceplugin"
)

func main() {
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "containerd":
		err = command.App().Run(os.Args)
	case "ctr":
		err = app.New().Run(os.Args)
	case "etcd":
		etcdmain.Main(os.Args)
	case "device-plugin":
		deviceplugin.Main()
	default:
		err = fmt.Errorf("there is no program %s here", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
