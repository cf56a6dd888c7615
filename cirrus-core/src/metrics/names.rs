//! Every metric's name, kind and meaning. `docs/operations.md` is checked against this list.

/// A counter or gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in the exposition; counters get `_total` behind it.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Metric = Metric { name: $name, help: $help };)*

        /// All of them.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    REQUESTS = "cirrus_requests", "Responses by site, status class and what the cache did.";
    RESPONSE_BYTES = "cirrus_response_body_bytes", "Bytes of response bodies sent, by site.";
    IN_FLIGHT = "cirrus_requests_in_flight", "Requests whose responses are not finished.";
    DURATION = "cirrus_request_duration_seconds", "From a request's header to its response's last byte.";
    UPSTREAM_DURATION = "cirrus_upstream_duration_seconds", "From the choice of an endpoint to its response's header.";
    ACCEPTED = "cirrus_connections_accepted", "Connections from clients.";
    OPEN = "cirrus_connections_open", "Connections from clients that are open.";
    REFUSED = "cirrus_connections_refused", "Connections closed at once because limits.connections was reached.";
    CLIENT_REFUSED = "cirrus_connections_client_refused", "Connections closed at once because limits.connections_per_client was reached.";
    WORN = "cirrus_connections_worn", "Connections that were ended because limits.requests_per_connection was reached.";
    STALLED = "cirrus_responses_stalled", "Connections and HTTP/2 streams given up because the client took nothing of a response for limits.send_time.";
    BUFFERED = "cirrus_buffered_bytes", "Bytes of responses that wait for HTTP/1 clients that are slower than their responses.";
    HELD_BACK = "cirrus_responses_held_back", "Times that no more of a response was taken because limits.total_buffer was reached.";
    SLOW_BODIES = "cirrus_request_bodies_slow", "Requests given up because their body came slower than limits.body_idle_time or limits.body_rate.";
    HTTP2_FLOODS = "cirrus_http2_floods", "HTTP/2 connections ended with ENHANCE_YOUR_CALM because of too many frames that mean nothing.";
    TIMED_OUT = "cirrus_connections_timed_out", "Connections closed because limits.header_time or limits.idle_time was over.";
    MALFORMED = "cirrus_connections_malformed", "Connections closed because what came was no valid HTTP.";
    PROXY_PROTOCOL_ERRORS = "cirrus_proxy_protocol_errors", "Connections from networks in proxy_protocol closed because they did not begin with a valid header.";
    HANDSHAKES = "cirrus_tls_handshakes", "TLS handshakes completed.";
    HANDSHAKE_FAILURES = "cirrus_tls_handshake_failures", "TLS handshakes that failed.";
    HANDSHAKES_OPEN = "cirrus_tls_handshakes_open", "TLS handshakes that have begun and not ended.";
    HANDSHAKES_REFUSED = "cirrus_tls_handshakes_refused", "Connections closed at once because limits.handshakes was reached.";
    CERT_DAYS = "cirrus_certificate_expiry_days", "Days until a certificate ends, less than 0 afterwards, by name and source; of the 500 that end first.";
    CERT_FAILURES = "cirrus_certificate_failures", "Failures in a row to obtain a certificate, by name; of at most 500, those that fail first.";
    CERT_ATTEMPTED = "cirrus_certificate_last_attempt_timestamp_seconds", "When somebody last tried to obtain a certificate, by name; of the same.";
    CERT_MISSING = "cirrus_certificates_missing", "Certificates that are wanted and were never obtained.";
    CONNECTS = "cirrus_upstream_connects", "Connections opened to origins, failed ones included.";
    CONNECT_FAILURES = "cirrus_upstream_connect_failures", "Connections to origins that could not be opened.";
    POOL_HITS = "cirrus_upstream_pool_hits", "Requests sent on a pooled connection.";
    POOL_IDLE = "cirrus_upstream_pool_idle", "Pooled connections that are idle.";
    STALE_RETRIES = "cirrus_upstream_stale_retries", "Requests sent again because the origin had closed the pooled connection.";
    RETRIES = "cirrus_upstream_retries", "Requests sent again, by reason (connect, reset, timeout, status, hedge).";
    RETRY_BUDGET = "cirrus_upstream_retry_budget_exhausted", "Requests not sent again because the budget was used up.";
    MIRRORED = "cirrus_mirrored_requests", "Copies of requests sent to another cluster.";
    MIRROR_DROPPED = "cirrus_mirror_dropped", "Requests not copied because of mirror.buffer or mirror.concurrency.";
    POOL_WAITS = "cirrus_upstream_pool_waits", "Requests that waited because pool.max_connections was reached.";
    POOL_REJECTIONS = "cirrus_upstream_pool_rejections", "Requests answered 503 because pool.max_pending or pool.wait was reached.";
    DNS_LOOKUPS = "cirrus_dns_lookups", "Names of origins asked for.";
    DNS_FAILURES = "cirrus_dns_failures", "Names of origins asked for without an answer; that a name does not exist is one.";
    DNS_STALE = "cirrus_dns_stale_answers", "Connections made with addresses that were no longer fresh, because no newer ones could be had.";
    EJECTIONS = "cirrus_upstream_ejections", "Endpoints left out after failures in a row.";
    HEALTH_CHECKS = "cirrus_health_checks", "Looks after endpoints, by result (good, bad).";
    HEALTH_RUNNING = "cirrus_health_checks_running", "Checks of endpoints that run.";
    HEALTH_EJECTIONS = "cirrus_health_ejections", "Endpoints left out for a while, by cause (failures, gateway_errors, success_rate, latency).";
    BREAKER_REFUSED = "cirrus_breaker_refused", "Requests answered 503 because of a circuit breaker.";
    BREAKER_OPEN = "cirrus_breaker_open", "1 while the circuit breaker of a cluster is open, by cluster.";
    PANICKING = "cirrus_cluster_panic", "1 while so few endpoints of a cluster are up that all are asked, by cluster.";
    ENDPOINT_UP = "cirrus_endpoint_up", "1 while an endpoint is up, by cluster and endpoint; of clusters whose endpoints are watched, and at most 1000 endpoints.";
    UPSTREAM_STREAMS = "cirrus_upstream_http2_streams", "Requests sent to origins over HTTP/2.";
    UPSTREAM_RESETS = "cirrus_upstream_http2_resets", "Requests over HTTP/2 that the origin refused or reset before its response.";
    ENDPOINTS = "cirrus_cluster_endpoints", "Endpoints by cluster and state (up, out).";
    GATEWAY_SERVICES = "cirrus_gateway_services", "Services that gateways follow, by state (known, unknown, asking, failed).";
    DISCOVERY_ERRORS = "cirrus_discovery_errors", "Errors of the watch on a cluster's service, by cluster.";
    DISCOVERY_FAILING = "cirrus_discovery_failing", "1 while discovery's last word on a cluster's service was an error, by cluster.";
    DISCOVERY_AGE = "cirrus_discovery_age_seconds", "Seconds since discovery last spoke, by cluster.";
    DISCOVERY_HOLDING = "cirrus_discovery_holding", "1 while a suddenly small set of endpoints waits for its confirmation, by cluster.";
    DISCOVERY_HOLDS = "cirrus_discovery_holds", "Sets of endpoints that were held back because they were suddenly small, by cluster.";
    TUNNELS = "cirrus_tunnels", "Connections that switched to another protocol, such as WebSocket.";
    COMPRESSION_IN = "cirrus_compression_input_bytes", "Bytes of response bodies that were compressed, before.";
    COMPRESSION_OUT = "cirrus_compression_output_bytes", "Bytes of response bodies that were compressed, after.";
    CACHE_BYTES = "cirrus_cache_bytes", "Bytes in use by the store.";
    CACHE_CAPACITY = "cirrus_cache_capacity_bytes", "Bytes the store may use.";
    CACHE_OBJECTS = "cirrus_cache_objects", "Responses in the store.";
    CACHE_EVICTED = "cirrus_cache_evicted", "Responses removed to make room.";
    CACHE_PURGES = "cirrus_cache_purges", "Purges done, by kind (url, prefix, tag, host, all).";
    CACHE_PREFETCHED = "cirrus_cache_prefetched", "URLs that prefetch jobs have fetched.";
    CACHE_PREFETCH_FAILURES = "cirrus_cache_prefetch_failures", "URLs that prefetch jobs could not fetch.";
    PURGE_LOG_POSITION = "cirrus_cache_purge_log_position", "Number of the last purge in the log that this edge has done.";
    PURGE_LOG_AGE = "cirrus_cache_purge_log_age_seconds", "Seconds since the purge log was last known to be read to its end.";
    PURGE_LOG_FENCED = "cirrus_cache_purge_log_fenced", "1 while what was stored is not used because purges may be missing.";
    PEER_HITS = "cirrus_cache_peer_hits", "Fetches that a peer answered with what it had or was fetching already.";
    PEER_MISSES = "cirrus_cache_peer_misses", "Fetches that a peer answered by asking the origin.";
    PEER_FAILURES = "cirrus_cache_peer_failures", "Peers asked that could not be reached, did not answer in time, or did not know this edge.";
    PEER_FALLBACKS = "cirrus_cache_peer_fallbacks", "Fetches that went to the origin though a peer had been asked: it failed, or what it had may be from before a purge.";
    PEER_REQUESTS = "cirrus_cache_peer_requests", "Requests of peers.";
    ACCESS_REFUSED = "cirrus_access_refused", "Requests refused by access control, by reason (address, basic, api_key, jwt, forward_auth).";
    CONFIG_REVISION = "cirrus_config_revision", "Revision of the configuration in force; grows by one with each that is applied.";
    CONFIG_APPLIED = "cirrus_config_applied_timestamp_seconds", "When the configuration in force was applied.";
    CONFIG_REJECTED = "cirrus_config_rejected", "Configurations that were refused because of faults.";
    CONFIG_SOURCE_ERRORS = "cirrus_config_source_errors", "Errors of the configuration source.";
    LOG_DROPPED = "cirrus_access_log_dropped", "Access-log lines dropped because the log could not be written fast enough.";
    RATE_LIMITED = "cirrus_rate_limited", "Requests refused because a rate limit was reached.";
    QUEUED = "cirrus_requests_queued", "Requests that wait for their turn under a concurrency limit.";
    QUEUE_FULL = "cirrus_queue_full", "Requests refused because a concurrency limit was reached and its queue was full.";
    QUEUE_TIMEOUTS = "cirrus_queue_timeouts", "Requests refused because their turn under a concurrency limit did not come in time.";
    DEADLINES = "cirrus_deadlines", "Requests and responses given up because the deadline was over.";
    BODIES_TOO_LARGE = "cirrus_request_bodies_too_large", "Requests refused because of max_body.";
    BUILD = "cirrus_build_info", "Always 1; the version as a label.";
}
