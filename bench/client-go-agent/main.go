// SPDX-License-Identifier: Apache-2.0

// The watching half of a node agent as it is usually written: an informer of client-go on the pods
// of one node. For bench/agent.py, which compares it with snapshot-agent. It prints a line, with the
// time, for each pod with the label of ChReK that becomes ready, once.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

const label = "nvidia.com/checkpoint-source"

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func work(queue workqueue.TypedRateLimitingInterface[string], indexer cache.Indexer) {
	seen := map[string]bool{}
	for {
		key, shutdown := queue.Get()
		if shutdown {
			return
		}
		object, found, err := indexer.GetByKey(key)
		if pod, is := object.(*corev1.Pod); err == nil && found && is &&
			pod.Labels[label] == "true" && isReady(pod) && !seen[key] {
			seen[key] = true
			fmt.Printf("%.6f %s\n", float64(time.Now().UnixNano())/1e9, pod.Name)
		}
		queue.Done(key)
	}
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	node := flag.String("node", "", "whose pods")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client := kubernetes.NewForConfigOrDie(config)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = "spec.nodeName=" + *node
		}))
	informer := factory.Core().V1().Pods().Informer()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	add := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			queue.Add(key)
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, DeleteFunc: add, UpdateFunc: func(_, object any) { add(object) }}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	factory.Start(context.Background().Done())
	factory.WaitForCacheSync(context.Background().Done())
	fmt.Println("synced")
	work(queue, informer.GetIndexer())
}
