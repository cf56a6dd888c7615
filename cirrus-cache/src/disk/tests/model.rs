//! Against a model: a map, and the order of what was done.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, variant: u8, len: usize },
    Abandon { key: u8, len: usize },
    Refresh { key: u8 },
    Purge { what: u8, of: u8, soft: bool },
    Forget,
    Reopen,
}

#[derive(Clone, Debug, PartialEq)]
struct Object {
    id: ObjectId,
    variant: u8,
    body: Vec<u8>,
    fresh: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..2_000_usize, 100_000..300_000_usize];
    prop_oneof![
        6 => (0..8_u8, 0..2_u8, len.clone())
            .prop_map(|(key, variant, len)| Step::Put { key, variant, len }),
        1 => (0..8_u8, len).prop_map(|(key, len)| Step::Abandon { key, len }),
        2 => (0..8_u8).prop_map(|key| Step::Refresh { key }),
        3 => (0..5_u8, 0..8_u8, any::<bool>())
            .prop_map(|(what, of, soft)| Step::Purge { what, of, soft }),
        1 => Just(Step::Forget),
        2 => Just(Step::Reopen),
    ]
}

fn url(n: u8) -> CacheKey {
    let target = PathAndQuery::try_from(format!("/{}/{n}", n % 3)).unwrap();
    CacheKey::new(
        Scheme::Http,
        ["a.example", "b.example"][usize::from(n % 2)],
        &target,
    )
}

fn meta(key: u8, kind: u8) -> Meta {
    let vary = variant(["de", "en"][usize::from(kind)]);
    fresh().with_vary(vary).with_tags([format!("t{}", key % 4)])
}

fn selection(what: u8, of: u8) -> Selection {
    match what {
        0 => Selection::Url(url(of)),
        1 => Selection::Tag(format!("t{}", of % 4).into()),
        2 => Selection::Prefix {
            host: "a.example".into(),
            path: format!("/{}/", of % 3).into(),
        },
        3 => Selection::Host(["a.example", "b.example"][usize::from(of % 2)].into()),
        _ => Selection::All,
    }
}

fn concerns(what: u8, of: u8, key: u8) -> bool {
    match what {
        0 => key == of,
        1 => key % 4 == of % 4,
        2 => key.is_multiple_of(2) && key % 3 == of % 3,
        3 => key % 2 == of % 2,
        _ => true,
    }
}

async fn run(steps: Vec<Step>) {
    let directory = directory();
    let mut store = open_at(directory.path());
    let mut model = HashMap::<u8, Vec<Object>>::new();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Put { key, variant, len } => {
                let body = content(n as u8, len);
                let id = put(&store, &url(key), meta(key, variant), &body).await;
                let objects = model.entry(key).or_default();
                objects.retain(|object| object.variant != variant);
                let fresh = true;
                objects.insert(
                    0,
                    Object {
                        id,
                        variant,
                        body,
                        fresh,
                    },
                );
            }
            Step::Abandon { key, len } => {
                let mut fill = store.insert(&url(key), meta(key, 0)).await.unwrap();
                fill.write(content(n as u8, len).into()).await.unwrap();
            }
            Step::Refresh { key } => {
                let objects = model.get_mut(&key).and_then(|objects| objects.last_mut());
                if let Some(object) = objects {
                    let meta = meta(key, object.variant);
                    assert!(store.refresh(&url(key), object.id, meta).await.unwrap());
                    object.fresh = true;
                }
            }
            Step::Purge { what, of, soft } => {
                let selected = selection(what, of);
                let purge = match soft {
                    true => Purge::soft(selected),
                    false => Purge::hard(selected),
                };
                store.purge(&purge).await.unwrap();
                for (_, objects) in model
                    .iter_mut()
                    .filter(|(key, _)| concerns(what, of, **key))
                {
                    objects.iter_mut().for_each(|object| object.fresh = false);
                    objects.retain(|_| soft);
                }
            }
            Step::Forget => store.0.forget(),
            Step::Reopen => {
                drop(store);
                store = open_at(directory.path());
            }
        }
        compare(&store, &model).await;
    }
    assert_eq!(store.errors(), 0);
}

async fn compare(store: &DiskStore, model: &HashMap<u8, Vec<Object>>) {
    for key in 0..8 {
        let mut found = Vec::new();
        for stored in store.lookup(&url(key)).await.unwrap() {
            found.push(Object {
                id: stored.id,
                variant: u8::from(stored.meta.vary == variant("en")),
                body: read(&stored).await,
                fresh: is_fresh(&stored),
            });
        }
        let expected = model.get(&key).map_or(&[][..], |objects| &objects[..]);
        assert!(
            found == expected,
            "{key}: {} for {}",
            found.len(),
            expected.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn does_as_a_map_would(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
