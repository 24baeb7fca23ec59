// Runs the real CleanStaleEntries of the kube-proxy it is built with, in the network namespace it is
// started in: for every line on standard input, a Kubernetes List of Services and EndpointSlices, one
// run for each family, and a line of JSON in answer. Both families run at once, as in kube-proxy, which
// has a proxier for each. With -library it does the same with the netlink library alone.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/proxy"
	"k8s.io/kubernetes/pkg/proxy/conntrack"
)

type list struct {
	Items []json.RawMessage `json:"items"`
}

type answer struct {
	Kubernetes string  `json:"kubernetes"`
	Netlink    string  `json:"netlink"`
	Wall       float64 `json:"wall_s"`
	CPU        float64 `json:"cpu_s"`
	PeakKiB    int64   `json:"peak_kib"`
}

// library deletes what is stale without kube-proxy; nil where nobody has said how.
var library func(v1.IPFamily, proxy.ServicePortMap, proxy.EndpointsMap) error

func version(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return module.Version
		}
	}
	return "unknown"
}

func usage() (cpu float64, peak int64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime), usage.Maxrss
}

func clean(document []byte, withLibrary bool) error {
	var objects list
	if err := json.Unmarshal(document, &objects); err != nil {
		return err
	}
	var both sync.WaitGroup
	errs := [2]error{}
	for at, family := range []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol} {
		services, endpoints := newServices(family), newEndpoints(family)
		for _, raw := range objects.Items {
			var kind struct {
				Kind string `json:"kind"`
			}
			if err := json.Unmarshal(raw, &kind); err != nil {
				return err
			}
			switch kind.Kind {
			case "Service":
				service := &v1.Service{}
				if err := json.Unmarshal(raw, service); err != nil {
					return err
				}
				services.Update(nil, service)
			case "EndpointSlice":
				slice := &discovery.EndpointSlice{}
				if err := json.Unmarshal(raw, slice); err != nil {
					return err
				}
				endpoints.EndpointSliceUpdate(slice, false)
			}
		}
		serviceMap, endpointsMap := proxy.ServicePortMap{}, proxy.EndpointsMap{}
		serviceMap.Update(services)
		endpointsMap.Update(endpoints)
		both.Go(func() {
			if withLibrary {
				errs[at] = library(family, serviceMap, endpointsMap)
				return
			}
			conntrack.CleanStaleEntries(conntrack.New(), family, serviceMap, endpointsMap)
		})
	}
	both.Wait()
	return errors.Join(errs[:]...)
}

func main() {
	klog.InitFlags(nil)
	withLibrary := flag.Bool("library", false, "delete with the netlink library alone")
	flag.Parse()
	if *withLibrary && library == nil {
		fmt.Fprintln(os.Stderr, "kube-proxy: -library is not written for this version")
		os.Exit(2)
	}
	kubernetes, netlink := version("k8s.io/kubernetes"), version("github.com/vishvananda/netlink")
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		started := time.Now()
		before, _ := usage()
		if err := clean(line, *withLibrary); err != nil {
			fmt.Fprintln(os.Stderr, "kube-proxy:", err)
			os.Exit(1)
		}
		wall := time.Since(started).Seconds()
		after, peak := usage()
		out.Encode(answer{
			Kubernetes: kubernetes,
			Netlink:    netlink,
			Wall:       wall,
			CPU:        after - before,
			PeakKiB:    peak,
		})
	}
}
