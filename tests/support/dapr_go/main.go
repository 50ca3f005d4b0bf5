// An app of Dapr's SDK for Go: a service that hears, and a client that uses every block.
// It prints one line of JSON and ends; DAPR_SERVER is HTTP or GRPC.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	nethttp "net/http"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	"github.com/dapr/go-sdk/service/grpc"
	"github.com/dapr/go-sdk/service/http"
)

type result map[string]any

var heard = map[string]chan string{
	"plain": make(chan string, 16), "special": make(chan string, 16), "default": make(chan string, 16),
	"tick": make(chan string, 16), "streamed": make(chan string, 16), "configuration": make(chan string, 16),
}

func hear(kind, text string) {
	select {
	case heard[kind] <- text:
	default: // a clock ticks on
	}
}

func until(kind string) string {
	select {
	case text := <-heard[kind]:
		return text
	case <-time.After(30 * time.Second):
		panic("nothing heard of " + kind)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func serve() common.Service {
	var service common.Service
	if os.Getenv("DAPR_SERVER") == "GRPC" {
		service = must(grpc.NewService("127.0.0.1:" + os.Getenv("APP_PORT")))
	} else {
		service = http.NewService("127.0.0.1:" + os.Getenv("APP_PORT"))
	}
	topic := func(kind, topic, route, match string) {
		subscription := &common.Subscription{
			PubsubName: "bus", Topic: topic, Route: route, Match: match, Priority: 1}
		check(service.AddTopicEventHandler(subscription,
			func(_ context.Context, event *common.TopicEvent) (bool, error) {
				// Of the CloudEvent's data: over HTTP a text is still quoted there.
				hear(kind, strings.Trim(string(event.RawData), `"`))
				return false, nil
			}))
	}
	topic("plain", "plain", "/plain", "")
	topic("special", "routed", "/special", `event.type == "special"`)
	topic("default", "routed", "/default", "")
	check(service.AddServiceInvocationHandler("echo",
		func(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
			answer := fmt.Sprintf("%s %s %s", in.Verb, in.ContentType, in.Data)
			return &common.Content{Data: []byte(answer), ContentType: "text/plain"}, nil
		}))
	check(service.AddBindingInvocationHandler("tick",
		func(context.Context, *common.BindingEvent) ([]byte, error) {
			hear("tick", "tick")
			return nil, nil
		}))
	check(service.AddHealthCheckHandler("", func(context.Context) error { return nil }))
	return service
}

func state(ctx context.Context, dapr client.Client, found result) {
	check(dapr.SaveState(ctx, "mem", "a", []byte("one"), map[string]string{"ttlInSeconds": "100"}))
	item := must(dapr.GetState(ctx, "mem", "a", nil))
	found["state"] = string(item.Value)
	wrong := dapr.SaveStateWithETag(ctx, "mem", "a", []byte("two"), item.Etag+"9", nil)
	found["wrong etag"] = wrong != nil
	check(dapr.SaveStateWithETag(ctx, "mem", "a", []byte("two"), item.Etag, nil))
	check(dapr.SaveBulkState(ctx, "mem", &client.SetStateItem{Key: "b", Value: []byte("b")}))
	var keys []string
	for _, each := range must(dapr.GetBulkState(ctx, "mem", []string{"a", "b", "none"}, nil, 2)) {
		keys = append(keys, each.Key+"="+string(each.Value))
	}
	sort.Strings(keys)
	found["bulk"] = keys
	check(dapr.ExecuteStateTransaction(ctx, "mem", nil, []*client.StateOperation{
		{Type: client.StateOperationTypeUpsert, Item: &client.SetStateItem{Key: "c", Value: []byte("three")}},
		{Type: client.StateOperationTypeDelete, Item: &client.SetStateItem{Key: "b"}},
	}))
	check(dapr.DeleteState(ctx, "mem", "a", nil))
	found["after"] = []string{
		string(must(dapr.GetState(ctx, "mem", "a", nil)).Value),
		string(must(dapr.GetState(ctx, "mem", "b", nil)).Value),
		string(must(dapr.GetState(ctx, "mem", "c", nil)).Value),
	}
}

func messages(ctx context.Context, dapr client.Client, found result) {
	check(dapr.PublishEvent(ctx, "bus", "plain", map[string]int{"n": 1}))
	found["plain"] = until("plain")
	check(dapr.PublishEvent(ctx, "bus", "plain", "text"))
	found["text"] = until("plain")
	answer := dapr.PublishEvents(ctx, "bus", "plain", []any{"x", "y"})
	check(answer.Error)
	both := []string{until("plain"), until("plain")}
	sort.Strings(both)
	found["many"], found["failed"] = both, len(answer.FailedEvents)
	special := map[string]string{"cloudevent.type": "special"}
	check(dapr.PublishEvent(ctx, "bus", "routed", "1", client.PublishEventWithMetadata(special)))
	check(dapr.PublishEvent(ctx, "bus", "routed", "2"))
	found["routed"] = []string{until("special"), until("default")}
	stop := must(dapr.SubscribeWithHandler(ctx,
		client.SubscriptionOptions{PubsubName: "bus", Topic: "streamed"},
		func(event *common.TopicEvent) common.SubscriptionResponseStatus {
			hear("streamed", string(event.RawData))
			return common.SubscriptionResponseStatusSuccess
		}))
	check(dapr.PublishEvent(ctx, "bus", "streamed", "now"))
	found["streamed"] = until("streamed")
	check(stop())
	found["tick"] = until("tick")
}

func others(ctx context.Context, dapr client.Client, found result) {
	found["secret"] = must(dapr.GetSecret(ctx, "vault", "key", nil))
	found["secrets"] = must(dapr.GetBulkSecret(ctx, "vault", nil))
	content := &client.DataContent{ContentType: "text/plain", Data: []byte("hello")}
	found["echo"] = string(must(dapr.InvokeMethodWithContent(ctx, "go", "echo", "post", content)))
	_, err := dapr.InvokeMethod(ctx, "nobody", "x", "get")
	found["nobody"] = err.Error()
	name := map[string]string{"fileName": "a.txt"}
	must(dapr.InvokeBinding(ctx, &client.InvokeBindingRequest{
		Name: "files", Operation: "create", Data: []byte("content"), Metadata: name}))
	file := must(dapr.InvokeBinding(ctx, &client.InvokeBindingRequest{
		Name: "files", Operation: "get", Metadata: name}))
	found["file"] = string(file.Data)
	found["configuration"] = must(dapr.GetConfigurationItem(ctx, "conf", "greeting")).Value
	id := must(dapr.SubscribeConfigurationItems(ctx, "conf", []string{"greeting"},
		func(_ string, items map[string]*client.ConfigurationItem) {
			if items["greeting"] != nil && items["greeting"].Value == "changed" {
				hear("configuration", "changed")
			}
		}))
	fmt.Println("WATCHING")
	found["changed"] = until("configuration")
	check(dapr.UnsubscribeConfigurationItems(ctx, "conf", id))
	lock := func(owner string) bool {
		return must(dapr.TryLockAlpha1(ctx, "locks", &client.LockRequest{
			ResourceID: "thing", LockOwner: owner, ExpiryInSeconds: 60})).Success
	}
	unlock := func(owner string) string {
		return must(dapr.UnlockAlpha1(ctx, "locks",
			&client.UnlockRequest{ResourceID: "thing", LockOwner: owner})).Status
	}
	found["lock"] = []bool{lock("me"), lock("you")}
	found["unlock"] = []string{unlock("you"), unlock("me"), unlock("me")}
	check(dapr.SetMetadata(ctx, "mine", "yes"))
	about := must(dapr.GetMetadata(ctx))
	found["metadata"] = []any{about.ID, len(about.RegisteredComponents), about.ExtendedMetadata["mine"]}
}

func main() {
	service := serve()
	go func() {
		if err := service.Start(); !errors.Is(err, nethttp.ErrServerClosed) {
			check(err)
		}
	}()
	dapr := must(client.NewClient())
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	check(dapr.Wait(ctx, 30*time.Second))
	found := result{}
	state(ctx, dapr, found)
	messages(ctx, dapr, found)
	others(ctx, dapr, found)
	fmt.Println("RESULT " + string(must(json.Marshal(found))))
	dapr.Close()
	check(service.Stop())
}
