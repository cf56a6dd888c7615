//! One watch on one service, by blocking queries.

use std::time::Duration;

use cirrus_core::BoxError;
use cirrus_core::discovery::{Endpoints, ServiceName, UnknownService};
use tokio::time::{Instant, sleep_until};

use super::client::{Answer, Client};
use super::record::{Said, read};
use super::{ConsulError, ConsulService};
use crate::link::Link;
use crate::pace::{Rest, about};

/// The shortest time from one query to the next: what changes all the time is not asked about all the time.
const PACE: Duration = Duration::from_millis(100);

/// Between two looks for a service that is not there. With jitter.
const LOOK: Duration = Duration::from_secs(1);

/// What Consul says of a datacentre that it cannot reach, whether it knows of it or not.
const NO_PATH: &str = "No path to datacenter";

/// One watch. Endpoints are said again when a query's time is over, so that their age tells how old they may be.
#[derive(Debug)]
pub(super) struct Watch {
    client: Client,
    link: Option<Link>,
    name: ServiceName,
    service: ConsulService,
    /// What the next query waits to see surpassed; 0 for an answer at once.
    index: u64,
    /// Before this no query is sent.
    next: Option<Instant>,
    rest: Rest,
    /// The last item said so.
    said_unknown: bool,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(client: Client, name: ServiceName, service: ConsulService) -> Self {
        Self {
            client,
            link: None,
            name,
            service,
            index: 0,
            next: None,
            rest: Rest::default(),
            said_unknown: false,
        }
    }

    /// Waits for something to say.
    pub(super) async fn next(mut self) -> Option<(Result<Endpoints, BoxError>, Self)> {
        loop {
            if let Some(next) = self.next {
                sleep_until(next).await;
            }
            self.next = Some(Instant::now() + PACE);
            let item = match self.ask().await {
                Ok(Said::Known(endpoints)) => Ok(endpoints),
                Ok(Said::Unknown) => {
                    self.look_again();
                    if self.said_unknown {
                        continue;
                    }
                    Err(UnknownService::new(self.name.clone()).into())
                }
                Err(error) => {
                    self.failed();
                    self.said_unknown = false;
                    return Some((Err(error.into()), self));
                }
            };
            self.said_unknown = item.is_err();
            return Some((item, self));
        }
    }

    async fn ask(&mut self) -> Result<Said, ConsulError> {
        let target = self.service.target(self.index, self.client.wait());
        let answered = match self.index {
            0 => self.client.get(&mut self.link, &target).await,
            _ => self.client.hold(&mut self.link, &target).await,
        };
        let answer = match answered {
            Err(ConsulError::Status { text, .. })
                if text.contains(NO_PATH) && !self.is_datacentre().await? =>
            {
                self.failed();
                return Ok(Said::Unknown);
            }
            answered => answered?,
        };
        let said = read(&answer.body, &self.service)?;
        self.index = self.advanced(&answer);
        self.rest = Rest::default();
        Ok(said)
    }

    /// Whether Consul knows the datacentre, reachable or not.
    async fn is_datacentre(&mut self) -> Result<bool, ConsulError> {
        let Some(wanted) = self.service.datacentre.as_deref() else {
            return Ok(true);
        };
        let answer = self
            .client
            .get(&mut self.link, "/v1/catalog/datacenters")
            .await?;
        let known: Vec<String> = answer.json()?;
        Ok(known.iter().any(|known| known == wanted))
    }

    /// An index that goes back is another Consul's, or one that has lost its data: it is asked from the beginning.
    fn advanced(&self, answer: &Answer) -> u64 {
        match answer.index {
            Some(index) if index >= self.index => index,
            _ => 0,
        }
    }

    /// What is not there is asked for now and then: a query for it that is held back may miss its coming.
    fn look_again(&mut self) {
        self.index = 0;
        self.next = Some(Instant::now() + about(LOOK));
    }

    /// The next query is one that is answered at once, after a rest.
    fn failed(&mut self) {
        self.index = 0;
        self.next = Some(self.rest.end());
    }
}
