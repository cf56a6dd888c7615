//! Endpoints that the program gives, service by service.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cirrus_core::Updates;
use cirrus_core::discovery::{Discovery, Endpoints, ServiceName, UnknownService};
use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Endpoints that the program gives, service by service, and may change at any time.
///
/// Clones are the same table: keep one to make changes, and give the other to the server. A watch that is slower than
/// the changes sees the last of them. A watch on a service that is not in the table yields [`UnknownService`], and its
/// endpoints as soon as they are set.
///
/// A name that is empty names no service; what is set for it is ignored.
#[derive(Clone, Default)]
pub struct Table(Arc<Services>);

/// Services that are known, and those that are only waited for (`None`).
type Services = Mutex<HashMap<ServiceName, watch::Sender<Option<Endpoints>>>>;

/// One watch.
struct Watch {
    service: ServiceName,
    receiver: watch::Receiver<Option<Endpoints>>,
    table: Table,
}

// === impl Table ===

impl Table {
    /// With these services. Of several with the same name the last one counts.
    pub fn new<N: Into<Arc<str>>>(services: impl IntoIterator<Item = (N, Endpoints)>) -> Self {
        let table = Self::default();
        for (service, endpoints) in services {
            table.set(service, endpoints);
        }
        table
    }

    /// Replaces the endpoints of a service, and makes it known. An empty set says that nobody is there.
    pub fn set(&self, service: impl Into<Arc<str>>, endpoints: Endpoints) {
        if let Some(service) = ServiceName::new(service) {
            let mut services = self.0.lock();
            replace(services.entry(service).or_default(), Some(endpoints));
        }
    }

    /// Makes a service unknown. Those who watch it are told, and the engine keeps the endpoints it had.
    pub fn remove(&self, service: &str) {
        let mut services = self.0.lock();
        if let Some(sender) = services.get(service) {
            replace(sender, None);
            if sender.receiver_count() == 0 {
                services.remove(service);
            }
        }
    }

    fn follow(&self, service: &ServiceName) -> Watch {
        let mut services = self.0.lock();
        let mut receiver = services.entry(service.clone()).or_default().subscribe();
        receiver.mark_changed();
        Watch {
            service: service.clone(),
            receiver,
            table: self.clone(),
        }
    }
}

/// Only a change wakes the watches.
fn replace(sender: &watch::Sender<Option<Endpoints>>, next: Option<Endpoints>) {
    sender.send_if_modified(|present| {
        let changed = *present != next;
        *present = next;
        changed
    });
}

impl Discovery for Table {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        Box::pin(stream::unfold(self.follow(service), |mut watch| async {
            watch.receiver.changed().await.ok()?;
            let present = watch.receiver.borrow_and_update().clone();
            let present = present.ok_or_else(|| UnknownService::new(watch.service.clone()).into());
            Some((present, watch))
        }))
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.0.lock();
        let sizes = services.iter().map(|(service, sender)| {
            (
                service.as_str(),
                sender.borrow().as_ref().map(Endpoints::len),
            )
        });
        f.debug_map().entries(sizes).finish()
    }
}

// === impl Watch ===

impl Drop for Watch {
    /// The last one that waits for an unknown service takes its entry away, so that names do not pile up.
    fn drop(&mut self) {
        let mut services = self.table.0.lock();
        let unwanted = |sender: &watch::Sender<Option<Endpoints>>| {
            sender.borrow().is_none() && sender.receiver_count() <= 1
        };
        if services.get(&self.service).is_some_and(unwanted) {
            services.remove(&self.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use cirrus_core::discovery::Endpoint;
    use cirrus_core::testing::discovery_suite::DiscoveryFixture;
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    impl DiscoveryFixture for Table {
        fn discovery(&self) -> Arc<dyn Discovery> {
            Arc::new(self.clone())
        }

        async fn put(&self, service: &str, endpoints: &Endpoints) {
            self.set(service, endpoints.clone());
        }

        async fn put_garbage(&self, _: &str) -> bool {
            false
        }
    }

    cirrus_core::testing::discovery_suite!(Table::default());

    fn name(service: &str) -> ServiceName {
        ServiceName::new(service).unwrap()
    }

    fn one(url: &str) -> Endpoints {
        [Endpoint::new(url.parse().unwrap())].into_iter().collect()
    }

    #[tokio::test]
    async fn a_removed_service_is_unknown_until_it_is_set_again() {
        let payments = one("http://10.0.0.7:8080");
        let table = Table::new([("payments", payments.clone())]);
        let mut updates = table.watch(&name("payments"));
        assert_eq!(updates.next().await.unwrap().unwrap(), payments);

        table.remove("payments");
        let error = updates.next().await.unwrap().unwrap_err();
        let unknown = error.downcast_ref::<UnknownService>().unwrap();
        assert_eq!(unknown.service().as_str(), "payments");
        assert_eq!(error.to_string(), "the service `payments` is unknown");

        table.set("payments", payments.clone());
        assert_eq!(updates.next().await.unwrap().unwrap(), payments);
    }

    #[tokio::test]
    async fn what_is_said_twice_wakes_nobody() {
        let table = Table::new([("payments", one("http://10.0.0.7:8080"))]);
        let mut updates = table.watch(&name("payments"));
        assert!(updates.next().await.unwrap().is_ok());
        table.set("payments", one("http://10.0.0.7:8080"));
        assert!(updates.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn names_that_are_only_waited_for_do_not_pile_up() {
        let table = Table::new([("known", Endpoints::default())]);
        let (first, second) = (table.watch(&name("other")), table.watch(&name("other")));
        drop(first);
        assert_eq!(table.0.lock().len(), 2, "one watch still waits");
        drop(second);
        drop(table.watch(&name("known")));
        assert_eq!(format!("{table:?}"), r#"{"known": Some(0)}"#);
        table.remove("known");
        assert_eq!(format!("{table:?}"), "{}");
    }

    #[tokio::test]
    async fn an_empty_name_is_no_service() {
        assert_eq!(
            format!("{:?}", Table::new([("", Endpoints::default())])),
            "{}"
        );
    }
}
