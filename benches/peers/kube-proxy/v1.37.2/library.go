package main

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/proxy"
)

// staleFilter is the whole rule as one filter, so that the library lists once and asks it of each
// entry.
type staleFilter map[netip.AddrPort]map[netip.AddrPort]bool

func (f staleFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != 17 {
		return false
	}
	backends, known := f[at(flow.Forward.DstIP, flow.Forward.DstPort)]
	return known && !backends[at(flow.Reverse.SrcIP, flow.Reverse.SrcPort)]
}

func at(ip net.IP, port uint16) netip.AddrPort {
	address, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(address.Unmap(), port)
}

func init() {
	library = func(family v1.IPFamily, services proxy.ServicePortMap, endpoints proxy.EndpointsMap) error {
		filter := staleFilter{}
		for name, service := range services {
			backends := map[netip.AddrPort]bool{}
			for _, endpoint := range endpoints[name] {
				if endpoint.IsServing() {
					backends[at(net.ParseIP(endpoint.IP()), uint16(endpoint.Port()))] = true
				}
			}
			filter[at(service.ClusterIP(), uint16(service.Port()))] = backends
		}
		number := netlink.InetFamily(2)
		if family == v1.IPv6Protocol {
			number = 10
		}
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, number, filter)
		return err
	}
}
