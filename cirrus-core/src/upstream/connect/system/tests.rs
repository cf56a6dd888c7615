use std::net::SocketAddr;

use hickory_resolver::config::NameServerConfig;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{RData, Record};
use tokio::net::UdpSocket;

use super::*;

/// What a name server says to one question; `None` keeps it waiting.
fn says(name: &str, family: RecordType) -> Option<(ResponseCode, Option<(&'static str, u32)>)> {
    let (okay, four) = (ResponseCode::NoError, family == RecordType::A);
    Some(match (name, four) {
        ("both.test.", true) => (okay, Some(("10.0.0.1", 30))),
        ("both.test.", false) => (okay, Some(("::1", 20))),
        ("four.test.", true) => (okay, Some(("10.0.0.2", 40))),
        ("slow.test.", true) => (okay, Some(("10.0.0.3", 4000))),
        ("slow.test.", false) => return None,
        ("half.test.", true) => (okay, Some(("10.0.0.4", 4000))),
        ("half.test.", false) | ("broken.test.", true) => (ResponseCode::ServFail, None),
        ("four.test." | "broken.test.", false) => (okay, None),
        _ => (ResponseCode::NXDomain, None),
    })
}

fn reply(question: &Message) -> Option<Message> {
    let query = question.queries.first()?.clone();
    let (code, answer) = says(&query.name().to_lowercase().to_ascii(), query.query_type())?;
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.response_code = code;
    let name = query.name().clone();
    reply.add_query(query);
    match answer {
        Some((address, ttl)) => {
            let address = RData::from(address.parse::<IpAddr>().unwrap());
            reply.add_answer(Record::from_rdata(name, ttl, address));
        }
        None => {
            let soa = SOA::new(name.clone(), name.clone(), 1, 1, 1, 1, 7);
            reply.add_authority(Record::from_rdata(name, 7, RData::SOA(soa)));
        }
    }
    Some(reply)
}

async fn serve(socket: UdpSocket) {
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer[..length]).unwrap();
        if let Some(reply) = reply(&question) {
            let _ = socket.send_to(&reply.to_vec().unwrap(), from).await;
        }
    }
}

/// What is answered with a server at this address, and this file.
fn ways(server: SocketAddr, hosts: &str) -> Ways {
    let mut config = NameServerConfig::udp(server.ip());
    config.connections[0].port = server.port();
    let mut all = ResolverConfig::default();
    all.name_servers.push(config);
    let builder = TokioResolver::builder_with_config(all, TokioRuntimeProvider::default());
    let mut file = Hosts::default();
    file.read_hosts_conf(hosts.as_bytes()).unwrap();
    Ways {
        hosts: file,
        servers: Ok(finish(builder).unwrap()),
    }
}

fn found(addresses: &[&str], secs: u64) -> Result<Answer, NoAnswer> {
    Ok(Answer {
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        ttl: Duration::from_secs(secs),
    })
}

#[tokio::test]
async fn servers_are_asked_for_both_families() {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let ways = ways(socket.local_addr().unwrap(), "");
    let ask = async |name| {
        let answer = ways.by_servers(name).await;
        answer.map(|mut answer| {
            answer.addresses.sort();
            answer
        })
    };
    let asking = async {
        assert_eq!(ask("both.test").await, found(&["10.0.0.1", "::1"], 20));
        assert_eq!(ask("four.test").await, found(&["10.0.0.2"], 40));
        assert_eq!(
            ask("slow.test").await,
            found(&["10.0.0.3"], 30),
            "nobody waits long"
        );
        assert_eq!(
            ask("half.test").await,
            found(&["10.0.0.4"], 30),
            "asked again soon"
        );
        let gone = NoAnswer::Missing {
            ttl: Some(Duration::from_secs(7)),
        };
        assert_eq!(ask("gone.test").await, Err(gone));
        let broken = ask("broken.test").await;
        assert!(matches!(broken, Err(NoAnswer::Failed(_))), "{broken:?}");
    };
    tokio::select! {
        () = asking => {}
        () = serve(socket) => {}
    }
}

#[tokio::test]
async fn the_file_is_enough() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let ways = ways(nobody, "10.0.0.9 db.test db\n# a comment\n");
    let by_file = |name| ways.by_file(name).ok_or(NoAnswer::Missing { ttl: None });
    assert_eq!(by_file("db"), found(&["10.0.0.9"], 30));
    assert_eq!(by_file("DB.test"), found(&["10.0.0.9"], 30));
    assert_eq!(by_file("localhost"), found(&["::1", "127.0.0.1"], 30));
    assert!(by_file("other.test").is_err());
}
