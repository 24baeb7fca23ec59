package main

import (
	"net"
	"strconv"

	"github.com/vishvananda/netlink"
	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/proxy"
)

// staleFilter is the whole rule as one filter, so that the library lists once and asks it of each
// entry: the best that can be done with ConntrackDeleteFilters.
type staleFilter map[string]map[string]bool

func (f staleFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != 17 {
		return false
	}
	backends, ours := f[join(flow.Forward.DstIP, int(flow.Forward.DstPort))]
	return ours && !backends[join(flow.Reverse.SrcIP, int(flow.Reverse.SrcPort))]
}

func join(ip net.IP, port int) string { return net.JoinHostPort(ip.String(), strconv.Itoa(port)) }

func init() {
	library = func(family v1.IPFamily, services proxy.ServicePortMap, endpoints proxy.EndpointsMap) error {
		filter := staleFilter{}
		for name, service := range services {
			backends := map[string]bool{}
			for _, endpoint := range endpoints[name] {
				if endpoint.IsServing() {
					backends[net.JoinHostPort(endpoint.IP(), strconv.Itoa(endpoint.Port()))] = true
				}
			}
			filter[join(service.ClusterIP(), service.Port())] = backends
		}
		number := netlink.InetFamily(2)
		if family == v1.IPv6Protocol {
			number = 10
		}
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, number, filter)
		return err
	}
}
