//! What the single values of balancing, retries and mirrors may be.

use super::limits::{Table, positive, within};
use crate::config::faults::Faults;
use crate::config::model::{BalanceConfig, ClusterConfig, MirrorConfig, RetryConfig, SiteConfig};
use crate::config::value::{Period, Size};

pub(super) fn cluster(cluster: &ClusterConfig, index: usize, faults: &mut Faults) {
    let at = format_args!("cluster[{index}].balance");
    balance(&cluster.balance, at, faults);
    if let Some(written) = &cluster.retry {
        retry(written, format_args!("cluster[{index}].retry"), faults);
    }
}

pub(super) fn site(site: &SiteConfig, index: usize, faults: &mut Faults) {
    balance(&site.balance, format_args!("site[{index}].balance"), faults);
    let at = format_args!("site[{index}]");
    both(site.retry.as_ref(), site.mirror.as_ref(), at, faults);
    for (number, route) in site.route.iter().enumerate() {
        let at = format_args!("site[{index}].route[{number}]");
        both(route.retry.as_ref(), route.mirror.as_ref(), at, faults);
    }
}

fn both(
    retry: Option<&RetryConfig>,
    mirror: Option<&MirrorConfig>,
    at: Table<'_>,
    faults: &mut Faults,
) {
    if let Some(retry) = retry {
        self::retry(retry, format_args!("{at}.retry"), faults);
    }
    if let Some(mirror) = mirror {
        let at = format_args!("{at}.mirror");
        within(mirror.percent, 0..=100, at, "percent", faults);
        within(
            mirror.buffer,
            Size::of(0)..=Size::mib(64),
            at,
            "buffer",
            faults,
        );
        within(mirror.concurrency, 1..=100_000, at, "concurrency", faults);
    }
}

fn balance(balance: &BalanceConfig, at: Table<'_>, faults: &mut Faults) {
    if let Some(percent) = balance.bounded_load {
        within(percent, 101..=1000, at, "bounded_load", faults);
    }
    if let Some(size) = balance.subset {
        within(size, 1..=100_000, at, "subset", faults);
    }
    if let Some(time) = balance.slow_start {
        positive(time, at, "slow_start", faults);
    }
    within(balance.spill_below, 1..=100, at, "spill_below", faults);
}

fn retry(retry: &RetryConfig, at: Table<'_>, faults: &mut Faults) {
    within(retry.attempts, 1..=10, at, "attempts", faults);
    if let Some(time) = retry.per_try_timeout {
        positive(time, at, "per_try_timeout", faults);
    }
    let waits = Period::millis(0)..=Period::secs(60);
    within(retry.back_off, waits.clone(), at, "back_off", faults);
    within(retry.max_back_off, waits, at, "max_back_off", faults);
    within(retry.budget, 0..=100, at, "budget", faults);
    within(retry.budget_min, 0..=1000, at, "budget_min", faults);
    within(
        retry.buffer,
        Size::of(0)..=Size::mib(64),
        at,
        "buffer",
        faults,
    );
}
