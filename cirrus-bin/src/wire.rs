//! The registry: what a configuration names, and the part of the program that does it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "redis")]
use cirrus_cache::RedisStore;
use cirrus_cache::{DiskStore, FileLog, MemoryStore, OpenError, TieredStore};
#[cfg(feature = "redis")]
use cirrus_core::config::RedisMode;
use cirrus_core::config::{
    Abilities, CacheConfig, CertificatesConfig, Config, ConfigSource, DiskCacheConfig,
    EtcdDiscoveryConfig, Faults, Format, OriginConfig, OriginUrl, PurgeLogConfig, RedisCacheConfig,
    RedisDiscoveryConfig, Size,
};
use cirrus_core::discovery::{Endpoint, Registry};
use cirrus_core::server::Builder;
use cirrus_core::{BoxError, Server, SystemClock};
use cirrus_discovery::consul::Consul;
use cirrus_discovery::etcd::Etcd;
#[cfg(feature = "redis")]
use cirrus_discovery::redis::Redis;
use cirrus_discovery::{Dns, EndpointFile, Services};
use cirrus_tls::{Chain, Folder, LocalRoot, SelfSigned};
use serde_json::{Value, json};

/// An edge that needs no file: every host, to these origins.
#[derive(Debug)]
pub(crate) struct Edge<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) origins: &'a [OriginUrl],
    /// Memory for responses; without it none are kept.
    pub(crate) cache: Option<Size>,
    /// The largest response that is kept, if not an eighth of the memory.
    pub(crate) max_object: Option<Size>,
    /// The `Host` that origins see, if not the client's.
    pub(crate) host: Option<&'a str>,
}

/// A builder with every part that `config` names. `source` is followed from then on.
///
/// # Errors
///
/// A part cannot be had. Faults of the configuration itself are found by the builder.
pub(crate) fn builder(source: impl ConfigSource, config: &Config) -> Result<Builder, BoxError> {
    let mut builder = cached(Server::builder().config(source), &config.cache)?;
    if let Some(log) = &config.cache.purge_log {
        builder = builder.purge_log(purge_log(log)?);
    }
    let registry = registry(config)?;
    let consul = match asks_consul(config) {
        true => Some(consul(config)?),
        false => None,
    };
    let services = services(config, registry.clone(), consul);
    let services = services.with("etcd", etcd(&config.discovery.etcd)?);
    builder = builder.discovery(found_in_redis(services, &config.discovery.redis)?);
    if let Some(registry) = registry {
        builder = builder.registry(registry);
    }
    Ok(match certificates(&config.certificates)? {
        Some(chain) => builder.certs(chain),
        None => builder,
    })
}

/// What a server of [`builder`] can do.
pub(crate) fn abilities(config: &Config) -> Abilities {
    let certificates = &config.certificates;
    Abilities::new(false, has_certificates(certificates))
        .with_discovery(Arc::new(named(config)))
        .with_probes([])
}

/// What may be named: that does not depend on whether anybody can be asked, or on files.
fn named(config: &Config) -> Services {
    let consul = Consul::builder().build().ok();
    let services = services(config, Some(Registry::new()), consul);
    let services = match Etcd::builder().build() {
        Ok(etcd) => services.with("etcd", etcd),
        Err(_) => services,
    };
    found_in_redis(services, &RedisDiscoveryConfig::default()).unwrap_or_default()
}

/// What finds endpoints, by the schemes of references.
fn services(config: &Config, registry: Option<Registry>, consul: Option<Consul>) -> Services {
    let settings = &config.discovery.dns;
    let dns = Dns::asking(settings.servers.iter().copied())
        .with_ttl(settings.min_ttl.into(), settings.max_ttl.into())
        .with_retry(settings.retry.into())
        .with_timeout(settings.timeout.into());
    let services = Services::default()
        .with("dns", dns.clone())
        .with("dns+srv", dns)
        .with("file", EndpointFile);
    let services = match consul {
        Some(consul) => services.with("consul", consul),
        None => services,
    };
    match registry.filter(|_| config.registry.is_some()) {
        Some(registry) => services.with("registry", registry),
        None => services,
    }
}

/// The registry with its first endpoints, if there is to be one.
fn registry(config: &Config) -> Result<Option<Registry>, BoxError> {
    let Some(settings) = &config.registry else {
        return Ok(None);
    };
    let registry = match &settings.file {
        Some(file) => Registry::open(file).map_err(|error| format!("`registry.file`: {error}"))?,
        None => Registry::new(),
    };
    for service in &settings.service {
        let endpoints = service.origin.iter().map(endpoint);
        registry
            .seed(&service.name, endpoints)
            .map_err(|error| format!("`registry.file`: {error}"))?;
    }
    Ok(Some(registry))
}

/// As it is written: one that is drained keeps the sessions that it has.
fn endpoint(origin: &OriginConfig) -> Endpoint {
    let weight = if origin.drain { 0 } else { origin.weight };
    let mut endpoint = Endpoint::new(origin.url.clone())
        .with_weight(weight)
        .with_priority(origin.priority)
        .with_labels(origin.labels.clone());
    endpoint.zone = origin.zone.as_deref().map(Into::into);
    endpoint.sni = origin.sni.as_deref().map(Into::into);
    endpoint
}

/// Whether something is found by Consul.
fn asks_consul(config: &Config) -> bool {
    let is_consul = |service: &String| service.starts_with("consul://");
    let mut services = config.cluster.iter().filter_map(|one| one.service.as_ref());
    let mut routes = config.site.iter().flat_map(|site| &site.route);
    config.consul.is_some()
        || services.any(is_consul)
        || routes.any(|route| route.consul_gateway.is_some())
}

/// Where it is: what is written, or else what the environment says, or else this machine.
fn consul(config: &Config) -> Result<Consul, BoxError> {
    let written = config.consul.clone().unwrap_or_default();
    let named = || std::env::var("CONSUL_ADDR").ok();
    let mut builder = Consul::builder();
    if let Some(address) = written.address.or_else(named) {
        builder = builder.address(address);
    }
    let is_written = written.token.is_some() || written.token_file.is_some();
    let of_environment = |name: &str| {
        let value = std::env::var(name).ok();
        value.filter(|value| !is_written && !value.is_empty())
    };
    if let Some(file) = of_environment("CONSUL_HTTP_TOKEN_FILE").map(PathBuf::from) {
        builder = builder.token_file(file);
    }
    // Consul's own tools prefer it to the file.
    if let Some(token) = of_environment("CONSUL_HTTP_TOKEN") {
        builder = builder.token(token);
    }
    if let Some(token) = written.token {
        builder = builder.token(token.as_str());
    }
    if let Some(file) = written.token_file {
        builder = builder.token_file(file);
    }
    if let Some(ca) = written.ca {
        builder = builder.ca(ca);
    }
    if let Some(name) = written.server_name {
        builder = builder.server_name(name);
    }
    if let (Some(certificate), Some(key)) = (written.certificate, written.key) {
        builder = builder.identity(certificate, key);
    }
    Ok(builder.build()?)
}

fn etcd(config: &EtcdDiscoveryConfig) -> Result<Etcd, BoxError> {
    let mut builder = Etcd::builder()
        .addresses(&config.addresses)
        .timeout(config.timeout.into())
        .read_every(config.read_every.into());
    if let Some(user) = &config.user {
        builder = builder.user(user);
    }
    if let Some(password) = &config.password {
        builder = builder.password(password.as_str());
    }
    if let Some(file) = &config.password_file {
        builder = builder.password_file(file);
    }
    if config.tls {
        builder = builder.tls();
    }
    if let Some(ca) = &config.ca {
        builder = builder.ca(ca);
    }
    if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
        builder = builder.identity(certificate, key);
    }
    let built = builder.build();
    built.map_err(|error| format!("`discovery.etcd`: {error}").into())
}

#[cfg(feature = "redis")]
fn found_in_redis(services: Services, config: &RedisDiscoveryConfig) -> Result<Services, BoxError> {
    let mut builder = Redis::builder()
        .addresses(&config.addresses)
        .database(config.database)
        .timeout(config.timeout.into())
        .read_every(config.read_every.into());
    builder = match (config.mode, &config.master) {
        (RedisMode::Sentinel, Some(master)) => builder.sentinel(master),
        (RedisMode::Cluster, _) => builder.cluster(),
        _ => builder,
    };
    if let Some(user) = &config.user {
        builder = builder.user(user);
    }
    if let Some(password) = &config.password {
        builder = builder.password(password.as_str());
    }
    if let Some(file) = &config.password_file {
        builder = builder.password_file(file);
    }
    if config.tls {
        builder = builder.tls();
    }
    if let Some(ca) = &config.ca {
        builder = builder.ca(ca);
    }
    if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
        builder = builder.identity(certificate, key);
    }
    let redis = builder.build();
    let redis = redis.map_err(|error| format!("`discovery.redis`: {error}"))?;
    Ok(services.with("redis", redis))
}

/// Without the feature `redis` the scheme is unknown.
#[cfg(not(feature = "redis"))]
fn found_in_redis(services: Services, _: &RedisDiscoveryConfig) -> Result<Services, BoxError> {
    Ok(services)
}

/// With the store that `config` describes. A single tier stands for itself: what it costs to have several is not paid.
fn cached(builder: Builder, config: &CacheConfig) -> Result<Builder, BoxError> {
    let memory = memory(config);
    let disk = match &config.disk {
        Some(disk) => disk_store(disk)?,
        None => None,
    };
    if disk.is_none() && config.redis.is_none() {
        return Ok(builder.cache(memory));
    }
    let mut tiers = TieredStore::new(memory);
    if let Some(disk) = disk {
        tiers = tiers.then(disk);
    }
    if let Some(redis) = &config.redis {
        tiers = tiers.then(self::redis(redis)?);
    }
    Ok(builder.cache(tiers.build()))
}

/// `None` if the disk cannot be used just now: the edge serves without it. A directory that is somebody else's is a
/// mistake of the configuration's, which must not go unnoticed.
fn disk_store(config: &DiskCacheConfig) -> Result<Option<DiskStore>, BoxError> {
    let mut builder = DiskStore::builder(&config.path)
        .capacity(config.capacity.bytes())
        .min_uses(config.min_uses);
    if let Some(size) = config.max_object {
        builder = builder.max_object(size.bytes());
    }
    match builder.open_now() {
        Ok(store) => Ok(Some(store)),
        Err(error @ OpenError::Io { .. }) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "serving without the disk cache");
            Ok(None)
        }
        Err(error) => Err(with_cause(error)),
    }
}

#[cfg(feature = "redis")]
fn redis(config: &RedisCacheConfig) -> Result<RedisStore, BoxError> {
    let url = config.url.as_ref().ok_or("`cache.redis` needs `url`")?;
    Ok(RedisStore::builder(url.as_str())?
        .prefix(&config.prefix)
        .max_object(config.max_object.bytes())
        .timeout(config.timeout.into())
        .build())
}

#[cfg(not(feature = "redis"))]
fn redis(_: &RedisCacheConfig) -> Result<MemoryStore, BoxError> {
    Err("`cache.redis` is not built into this program: build it with the feature `redis`".into())
}

fn memory(config: &CacheConfig) -> MemoryStore {
    let builder = MemoryStore::builder().capacity(config.memory.bytes());
    match config.max_object {
        Some(size) => builder.max_object(size.bytes()).build(),
        None => builder.build(),
    }
}

fn purge_log(config: &PurgeLogConfig) -> Result<FileLog, BoxError> {
    let log = FileLog::open(&config.file)?;
    Ok(match &config.position {
        Some(position) => log.keeping(position),
        None => log,
    })
}

fn has_certificates(config: &CertificatesConfig) -> bool {
    config.directory.is_some()
        || config.acme.is_some()
        || config.self_signed
        || config.local_ca.is_some()
}

/// The directory first, then what is obtained; a certificate made up on the spot only for names that neither covers.
fn certificates(config: &CertificatesConfig) -> Result<Option<Chain>, BoxError> {
    let mut chain = Chain::default();
    if let Some(directory) = &config.directory {
        chain = chain.then(Folder::open(directory).map_err(with_cause)?);
    }
    if let Some(acme) = &config.acme {
        chain = chain.then(crate::acme::provider(acme)?);
    }
    if let Some(directory) = &config.local_ca {
        let root = LocalRoot::open(directory, &SystemClock)?;
        chain = chain.then(SelfSigned::new().signed_by(root));
    } else if config.self_signed {
        chain = chain.then(SelfSigned::new());
    }
    Ok(has_certificates(config).then_some(chain))
}

fn with_cause(error: impl std::error::Error) -> BoxError {
    match error.source() {
        Some(cause) => format!("{error}: {cause}").into(),
        None => error.to_string().into(),
    }
}

// === impl Edge ===

impl Edge<'_> {
    /// The configuration, as if somebody had written it.
    ///
    /// # Errors
    ///
    /// What [`cirrus_core::config::check`] finds, in words about the arguments.
    pub(crate) fn config(&self) -> Result<Config, BoxError> {
        let text = self.written().to_string();
        let (config, _) = Config::parse(&text, Format::Json).map_err(in_words)?;
        let faults = cirrus_core::config::check(&config, abilities(&config));
        let (config, _) = faults.or(config).map_err(in_words)?;
        Ok(config)
    }

    fn written(&self) -> Value {
        let origins = self
            .origins
            .iter()
            .map(|url| json!({ "url": url.to_string() }));
        let mut config = json!({
            "listen": [{ "address": self.listen }],
            "site": [{
                "hosts": ["*"],
                "cache": { "enable": self.cache.is_some() },
                "origin": origins.collect::<Vec<_>>(),
            }],
        });
        if let Some(address) = self.admin {
            config["admin"] = json!({ "address": address });
        }
        if let Some(memory) = self.cache {
            config["cache"]["memory"] = json!(memory.to_string());
        }
        if let Some(size) = self.max_object {
            config["cache"]["max_object"] = json!(size.to_string());
        }
        if let Some(host) = self.host {
            config["site"][0]["upstream_headers"] = json!({ "host": host });
        }
        config
    }
}

/// The places are those of a text that nobody has written, so only the messages are told.
fn in_words(faults: Faults) -> BoxError {
    let told = faults.iter().map(|fault| match &fault.value {
        Some(value) => format!("{value}: {}", fault.message),
        None => fault.message.clone(),
    });
    told.collect::<Vec<_>>().join("\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_endpoints_of_a_registry_have_all_that_is_written() {
        let text = r#"
            [[registry.service]]
            name = "payment"
            origin = [
                { url = "http://a:1", weight = 3, zone = "b", priority = 2, labels = { version = "v2" } },
                { url = "https://c", sni = "d", drain = true },
            ]
        "#;
        let (config, _) = Config::parse(text, Format::Toml).unwrap();
        let service = &config.registry.unwrap().service[0];
        let told: Vec<_> = service.origin.iter().map(endpoint).collect();
        assert_eq!(
            serde_json::to_value(told).unwrap(),
            json!([
                {"url": "http://a:1", "weight": 3, "zone": "b", "priority": 2, "labels": {"version": "v2"}},
                {"url": "https://c", "weight": 0, "sni": "d"},
            ])
        );
    }
}
