//! The configuration: as written, as meant, and how it changes.
//!
//! A [`ConfigSource`] gives a [`Config`], as its author wrote it. It is compiled into a [`Snapshot`], what it means,
//! with every fault reported at once; a configuration with faults changes nothing. Snapshots are published by one swap.
//!
//! [`ConfigSource`]: crate::config::ConfigSource
//! [`Config`]: crate::config::Config
//! [`Snapshot`]: crate::config::Snapshot

mod check;
mod compile;
mod faults;
mod follow;
mod model;
mod parse;
mod reference;
mod snapshot;
mod source;
mod value;

pub use check::{Abilities, check};
pub(crate) use compile::Compiler;
pub use faults::{Excerpt, Fault, Faults, Place, Severity};
pub(crate) use follow::{Backoff, Follower, Status};
pub use model::{
    AccessConfig, AccessLogConfig, AccessLogFormat, AcmeAuthorityConfig, AcmeCertificateConfig,
    AcmeChallenge, AcmeConfig, AcmeDnsConfig, AcmeRedisConfig, AdminConfig, ApiKeysConfig,
    AtLeastConfig, BalanceConfig, BalancePolicy, BasicAuthConfig, BodyMatchConfig, BreakerConfig,
    CacheBypassConfig, CacheConfig, CacheKeyConfig, CacheKeyQueryConfig, CertificatesConfig,
    CheckConfig, CheckKind, CheckState, ClientAuthConfig, ClientAuthMode, ClientCertField,
    ClusterConfig, CompressionConfig, CompressionLevel, ConcurrencyConfig, Config, ConsulConfig,
    ConsulGatewayConfig, ContentCoding, CorsConfig, DiscoveryConfig, DiscoveryGuardConfig,
    DiskCacheConfig, DnsDiscoveryConfig, EtcdDiscoveryConfig, FilesConfig, ForwardAuthConfig,
    HeaderEditsConfig, HealthConfig, HstsConfig, JwtAlgorithm, JwtConfig, LimitsConfig,
    ListenConfig, MirrorConfig, OnDemandConfig, OriginConfig, OriginProtocol, PassthroughConfig,
    PeerConfig, PeersConfig, PoolConfig, PurgeLogConfig, PurgeMethodConfig, RateLimitConfig,
    RedirectConfig, RedisCacheConfig, RedisDiscoveryConfig, RedisMode, RegistryConfig,
    RegistryServiceConfig, RequestCacheControl, RequestIdConfig, RespondConfig, Resumption,
    RetryConfig, RewriteConfig, RouteConfig, SameSite, SendProxyProtocol, ServerConfig, SetCookie,
    SiteCacheConfig, SiteConfig, SiteTlsConfig, SplitConfig, StickyConfig, SubsetConfig,
    SubsetFallback, TimeoutsConfig, TlsConfig, TlsVersion, UpstreamTlsConfig, UpstreamTlsVersion,
};
pub use parse::{Document, Format};
pub use reference::{json_schema, markdown};
pub use snapshot::Snapshot;
pub(crate) use snapshot::{Limits, Live, Site};
pub use source::ConfigSource;
pub use value::{
    HashKey, HeaderText, HeaderTitle, HealthTerm, HedgeAfter, KeyHash, MediaRange, MethodName,
    NamePattern, OriginUrl, PasswordHash, PatternText, Period, PeriodBound, Rate, RateKey,
    RedisUrl, RetryOn, Secret, SecretText, ServiceUrl, Size, SizeBound, SplitKey, StatusNumber,
    StatusSet, WebOrigin,
};
