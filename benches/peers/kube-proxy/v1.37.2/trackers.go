package main

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/proxy"
)

func newServices(family v1.IPFamily) *proxy.ServiceChangeTracker {
	return proxy.NewServiceChangeTracker(family, nil, nil)
}

func newEndpoints(family v1.IPFamily) *proxy.EndpointsChangeTracker {
	return proxy.NewEndpointsChangeTracker(family, "node", nil, nil)
}
