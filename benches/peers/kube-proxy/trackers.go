package main

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/kubernetes/pkg/proxy"
)

var recorder = &events.FakeRecorder{}

func newServices(family v1.IPFamily) *proxy.ServiceChangeTracker {
	return proxy.NewServiceChangeTracker(nil, family, recorder, nil)
}

func newEndpoints(family v1.IPFamily) *proxy.EndpointsChangeTracker {
	return proxy.NewEndpointsChangeTracker("node", nil, family, recorder, nil)
}
