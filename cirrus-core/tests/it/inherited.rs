//! Routes that say how, and leave it to their site where to.

use cirrus_core::config::{Abilities, Config, Format, check};
use cirrus_core::testing::{Client, Origin, proxy, reply};
use serde_json::Value;

use crate::site;

const LOCAL: &str = "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n";

fn with_routes(site: &str) -> String {
    format!(
        "{site}\n\
         [[site.route]]\npath = \"/x/*\"\nresponse_headers = {{ set = {{ x-route = \"x\" }} }}\n\
         rewrite = {{ strip_prefix = \"/x\" }}\n\
         [[site.route]]\npath = \"/y\"\nmethods = [\"GET\"]\n"
    )
}

fn faults(text: &str) -> String {
    let (config, _) = Config::parse(text, Format::Toml).unwrap();
    check(&config, Abilities::default()).to_string()
}

#[tokio::test]
async fn a_route_without_an_action_asks_the_sites_origins() {
    let origin = Origin::new().get("*", |asked| reply(asked.target));
    let origin = origin.run().await;
    let named = format!(
        "[[cluster]]\nname = \"api\"\norigin = [{{ url = \"{}\" }}]\n[[site]]\nhosts = [\"*\"]\ncluster = \"api\"\n",
        origin.url()
    );
    for config in [site(&origin.url()), named] {
        let proxy = proxy::new(&format!("{LOCAL}{}", with_routes(&config)));
        let proxy = proxy.run().await;
        let mut client = Client::to(proxy.address());
        let routed = client.get("/x/a?b").await;
        assert_eq!(
            (routed.text(), routed.header("x-route")),
            ("/a?b", "x".into())
        );
        assert_eq!(client.get("/y").await.text(), "/y");
        assert_eq!(client.ask("POST", "/y", "", b"").await.text(), "/y");
        let other = client.get("/z").await;
        assert_eq!((other.text(), other.header("x-route")), ("/z", "".into()));

        // All of them ask the same endpoints: what one finds out, the others know.
        let mut admin = Client::to(proxy.admin()).host("localhost");
        let listed = admin.get("/api/v1/clusters").await;
        let listed: Value = serde_json::from_str(listed.text()).unwrap();
        assert_eq!(listed["clusters"].as_array().unwrap().len(), 1, "{listed}");
        let explained = admin.get("/api/v1/explain?url=http://a/y").await;
        let explained: Value = serde_json::from_str(explained.text()).unwrap();
        let action = explained["route"]["action"].as_str().unwrap();
        let wanted = ["cluster api".to_owned(), format!("origin {}", origin.url())];
        assert!(wanted.iter().any(|one| one == action), "{explained:#}");
        assert_eq!(explained["route"]["index"], 1);
    }
}

#[test]
fn where_the_site_has_nothing_a_route_needs_something() {
    let nothing = with_routes("[[site]]\nhosts = [\"*\"]\n");
    let told = faults(&nothing);
    assert!(
        told.contains("site[0].route[1]: the route does nothing"),
        "{told}"
    );
    assert!(told.contains("or its site `origin` or `cluster`"), "{told}");
}

#[test]
fn origins_that_only_such_a_route_asks_are_asked() {
    let site = site("http://127.0.0.1:1");
    let told = faults(&format!("{site}[[site.route]]\n"));
    assert_eq!(told, "");
    let told = faults(&format!("{site}[[site.route]]\nrespond = {{}}\n"));
    assert!(told.contains("never asked"), "{told}");
}
