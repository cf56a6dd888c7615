//! Several providers, asked in order.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use cirrus_core::downstream::{
    CertDone, CertError, CertProvider, CertReport, CertTask, Certificate, Hello, Lookup,
    ManageError, ServerName,
};
use rustls::sign::CertifiedKey;

/// Asks one provider after the other.
///
/// The first that has a certificate in memory wins; if none has, the first that may be able to load one. A provider that
/// then finds none leaves the name to the next, but one that is unavailable or has an invalid certificate does not: what
/// comes after it (a self-signed certificate, say) must not hide the trouble.
#[derive(Clone, Default)]
pub struct Chain(Vec<Arc<dyn CertProvider>>);

// === impl Chain ===

impl Chain {
    /// Asks `providers` in this order.
    #[must_use]
    pub fn new(providers: Vec<Arc<dyn CertProvider>>) -> Self {
        Self(providers)
    }

    /// Asks `next` after all the others.
    #[must_use]
    pub fn then(mut self, next: impl CertProvider) -> Self {
        self.0.push(Arc::new(next));
        self
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("length", &self.0.len())
            .finish()
    }
}

#[async_trait]
impl CertProvider for Chain {
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        let mut answer = Lookup::Unknown;
        for provider in &self.0 {
            match (provider.lookup(hello), &answer) {
                (found @ Lookup::Found(_), _) => return found,
                (cold @ Lookup::Cold(_), Lookup::Unknown) => answer = cold,
                _ => {}
            }
        }
        answer
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        for provider in &self.0 {
            match provider.lookup(&Hello::new(Some(name))) {
                Lookup::Found(certificate) => return Ok(certificate),
                Lookup::Unknown => {}
                Lookup::Cold(cold) => match provider.load(&cold).await {
                    Err(CertError::NotFound(_)) => {}
                    settled => return settled,
                },
            }
        }
        Err(CertError::NotFound(name.clone()))
    }

    async fn maintain(&self) {
        let mut all: Vec<_> = self.0.iter().map(|provider| provider.maintain()).collect();
        poll_fn(|cx| {
            all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
            if all.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    async fn http_challenge(&self, token: &str) -> Option<String> {
        for provider in &self.0 {
            if let Some(answer) = provider.http_challenge(token).await {
                return Some(answer);
            }
        }
        None
    }

    async fn alpn_challenge(&self, name: &ServerName) -> Option<Arc<CertifiedKey>> {
        for provider in &self.0 {
            if let Some(answer) = provider.alpn_challenge(name).await {
                return Some(answer);
            }
        }
        None
    }

    fn reports(&self) -> Vec<CertReport> {
        let all = self.0.iter();
        all.flat_map(|provider| provider.reports()).collect()
    }

    /// By the first that can: one that does not know the certificate leaves it to the next.
    async fn manage(&self, task: &CertTask) -> Result<CertDone, ManageError> {
        let mut last = ManageError::Unsupported;
        for provider in &self.0 {
            match provider.manage(task).await {
                Err(ManageError::Unsupported) => {}
                Err(unknown @ ManageError::Unknown(_)) => last = unknown,
                settled => return settled,
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cirrus_core::testing::{cert_provider_suite, certs};

    use super::*;
    use crate::{Fixed, SelfSigned};

    cert_provider_suite!(|| Chain::default()
        .then(fixed("other.example"))
        .then(SelfSigned::only(["known.example"])));

    /// Calls every name cold, and then cannot tell.
    #[derive(Default)]
    struct Sealed(Arc<AtomicUsize>);

    #[async_trait]
    impl CertProvider for Sealed {
        fn lookup(&self, hello: &Hello<'_>) -> Lookup {
            hello.name.cloned().map_or(Lookup::Unknown, Lookup::Cold)
        }

        async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
            Err(CertError::Unavailable {
                name: name.clone(),
                source: "sealed".into(),
            })
        }

        async fn maintain(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_first_in_memory_wins() {
        let (first, second) = (fixed("shop.example"), fixed("shop.example"));
        let chain = Chain::default()
            .then(Sealed::default())
            .then(first.clone())
            .then(second);
        let shop = name("shop.example");
        let Lookup::Found(found) = chain.lookup(&Hello::new(Some(&shop))) else {
            panic!("shop.example is in memory")
        };
        let Lookup::Found(expected) = first.lookup(&Hello::new(None)) else {
            unreachable!()
        };
        assert!(Arc::ptr_eq(&found, &expected));
    }

    #[tokio::test]
    async fn trouble_is_not_hidden_by_the_next() {
        let chain = Chain::default()
            .then(Sealed::default())
            .then(SelfSigned::new());
        let error = chain.load(&name("shop.example")).await.unwrap_err();
        assert!(matches!(error, CertError::Unavailable { .. }), "{error}");
    }

    #[tokio::test]
    async fn maintains_all_and_ends_with_the_last() {
        let count = Arc::new(AtomicUsize::new(0));
        let sealed = || Arc::new(Sealed(Arc::clone(&count))) as Arc<dyn CertProvider>;
        Chain::new(vec![sealed(), sealed(), sealed()])
            .maintain()
            .await;
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn tasks_are_left_to_who_can() {
        struct Able(Result<(), ManageError>);

        #[async_trait]
        impl CertProvider for Able {
            fn lookup(&self, _: &Hello<'_>) -> Lookup {
                Lookup::Unknown
            }

            async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
                Err(CertError::NotFound(name.clone()))
            }

            async fn manage(&self, _: &CertTask) -> Result<CertDone, ManageError> {
                match &self.0 {
                    Ok(()) => Ok(CertDone::new(CertReport::new("done", "test"))),
                    Err(_) => Err(ManageError::Unknown("a".into())),
                }
            }
        }

        let task = CertTask::Renew("a".into());
        let not_mine = || Able(Err(ManageError::Unsupported));
        let chain = Chain::default().then(fixed("a.example"));
        let error = chain.manage(&task).await.unwrap_err();
        assert!(matches!(error, ManageError::Unsupported), "{error}");
        let chain = chain.then(not_mine());
        let error = chain.manage(&task).await.unwrap_err();
        assert!(matches!(error, ManageError::Unknown(_)), "{error}");
        let done = chain.then(Able(Ok(()))).manage(&task).await.unwrap();
        assert_eq!(done.report.name, "done");
    }

    #[test]
    fn an_empty_chain_knows_nobody() {
        assert!(matches!(
            Chain::default().lookup(&Hello::new(None)),
            Lookup::Unknown
        ));
    }

    fn fixed(name: &str) -> Fixed {
        Fixed::new(certs::for_names(&[name]).certificate())
    }

    fn name(name: &str) -> ServerName {
        ServerName::new(name).unwrap()
    }
}
