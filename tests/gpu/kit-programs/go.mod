module stasis/kit

go 1.24.0

require (
	github.com/containerd/containerd/v2 v2.1.6
	go.etcd.io/etcd/server/v3 v3.6.7
	google.golang.org/grpc v1.72.1
	// containerd 2.1 was made for this release of the kubelet's interfaces.
	k8s.io/kubelet v0.32.3
)
