"""MCP server of a memory service: a client of it, in pods of its own."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from common.config.settings import McpSettings
from somabrain_operator.api.v1alpha1.base import ApiModel, LocalObjectReference, Url, is_url, rule, rules
from somabrain_operator.api.v1alpha1.network import NetworkPolicyPeer
from somabrain_operator.api.v1alpha1.placement import DisruptionBudget, Service
from somabrain_operator.api.v1alpha1.platform import Tls
from somabrain_operator.api.v1alpha1.resources import ResourceList, ResourceRequirements

_MCP: Final = McpSettings()
HeaderValue = Annotated[str, Field(min_length=1, max_length=260)]


class TokenExchange(ApiModel):
    """Token exchange (RFC 8693): the caller's token becomes one for the memory service, of the same subject."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                is_url("self.url"),
                "spec.mcp.exchange.url is not an HTTP URL; write that of the token endpoint, such as "
                "https://issuer.example/token",
            )
        )
    )

    url: Url
    """URL of the token endpoint. Bearer tokens and the client's secret are sent there: use https unless the network
    encrypts."""
    secret_ref: LocalObjectReference
    """A Secret with the keys `client-id` and `client-secret`, the MCP server's credentials at the token endpoint. It
    may change at any time: the pods read it again without a restart."""
    audience: Annotated[str, Field(max_length=256)] = _MCP.exchange.audience
    """Requested `audience`: the memory service, as the identity service names it. Empty: not sent."""
    scope: Annotated[str, Field(max_length=256)] = _MCP.exchange.scope
    """Scopes that are requested if the caller's token has them, space-separated. Empty: not sent."""
    ca_secret_ref: LocalObjectReference | None = None
    """A Secret whose key `ca.crt` holds the CA of its certificate. Not set: the CAs that the image trusts."""


class McpNetworkPolicy(ApiModel):
    """Pods that may connect to the MCP server, and the connections that it may open.

    These are to the servers, to DNS, and to the ports of the issuer and the token endpoint. Effective only if the
    cluster's network enforces NetworkPolicies.
    """

    clients: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=16)] = ()
    """Pods that may call the endpoint, such as those of an ingress controller. Empty: all pods of the SomaBrain's own
    namespace."""
    scrapers: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=16)] = ()
    """Pods that may read probes and metrics, besides the nodes. Empty: all pods; that port serves no memories."""
    egress_ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65_535)], ...], Field(max_length=16)] = ()
    """TCP ports, of any address, that it may connect to besides those of the URLs. A NetworkPolicy sees the port of the
    pod and not that of its Service: name the pod's here where they differ."""


class Mcp(ApiModel):
    """MCP server over HTTP (`somabrain mcp --http`). Its pods are scheduled, spread and probed as the servers are."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.resourceUrl.matches(r'^https?://[^/?#]+(/[^?#]*)?$')",
                "spec.mcp.resourceUrl is not an HTTP URL without query and fragment; write the public URL of the "
                "endpoint, such as https://memory.example.com/mcp",
            ),
            rule(
                "has(self.exchange) != (has(self.sameResource) && self.sameResource)",
                "spec.mcp: set either exchange, by which it gets tokens for the memory service, or sameResource, if "
                "both are one resource with one audience at the identity service",
            ),
            rule(
                "!(has(self.audience) && has(self.sameResource) && self.sameResource)",
                "spec.mcp.audience: with sameResource it is spec.auth.audience; remove it",
            ),
            rule(
                "!has(self.port) || self.port != 8080",
                "spec.mcp.port: 8080 is the port of probes and metrics; choose another one",
            ),
        )
    )

    resource_url: Url
    """Public URL of the MCP endpoint, such as `https://memory.example.com/mcp`: its identifier as a protected resource
    (RFC 9728). Its path is the endpoint's. A Gateway or Ingress of yours passes it on to the Service `NAME-mcp`."""
    audience: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Required `aud` of callers' tokens; their issuer, keys and claims are those of `spec.auth`. Not set:
    `resourceUrl`, or with `sameResource` that of `spec.auth`."""
    exchange: TokenExchange | None = None
    """Exchange of the callers' tokens for tokens for the memory service. Not together with `sameResource`."""
    same_resource: bool = _MCP.same_resource
    """True: the caller's token is passed on to the memory service. MCP forbids to pass a token on to another resource:
    set this only where both are one resource with one audience at the identity service."""
    replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of pods; any of them answers any request. None while `spec.replicas` is 0."""
    resources: ResourceRequirements = ResourceRequirements(
        requests=ResourceList(cpu="50m", memory="128Mi"), limits=ResourceList(memory="512Mi")
    )
    """Resources of a pod."""
    port: Annotated[int, Field(ge=1024, le=65_535)] = _MCP.port
    """Port of the pods and of the Service."""
    namespace: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Namespace of memories of calls that name no other. Not set: every call must name one."""
    allowed_hosts: Annotated[tuple[HeaderValue, ...], Field(max_length=32)] = ()
    """Values of the header Host that are accepted beside those of `resourceUrl` and of the Service inside the cluster;
    `NAME:*` is any port."""
    allowed_origins: Annotated[tuple[HeaderValue, ...], Field(max_length=32)] = ()
    """Values of the header Origin, which browsers send, that are accepted beside that of `resourceUrl`."""
    tls: Tls = Tls()
    """TLS to the servers, which is used if, and only if, `spec.grpc.tls` is set. `caSecretRef` not set: the public CAs
    that gRPC bundles."""
    drain_seconds: Annotated[int, Field(ge=0, le=600)] = int(_MCP.drain_s)
    """Seconds that calls in flight may take to finish when a pod stops."""
    secret_refs: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """Secrets with more settings of the MCP server, as in `spec.secretRefs`, of which it has none."""
    config_map_refs: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """ConfigMaps with more settings of the MCP server, as in `secretRefs`."""
    service: Service = Service()
    """Service of the endpoint."""
    network_policy: McpNetworkPolicy | None = None
    """NetworkPolicy of the pods. Not set: none. That of the servers, if there is one, admits them in any case."""
    pod_disruption_budget: DisruptionBudget | None = None
    """PodDisruptionBudget of the pods. Not set: none, so drains may evict all pods at once."""
