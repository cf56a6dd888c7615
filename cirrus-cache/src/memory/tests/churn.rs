//! Long sequences of whatever may happen.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: u64,
        language: usize,
        len: u64,
    },
    /// Begins a fill that goes on until it is the oldest of four.
    Begin {
        key: u64,
        language: usize,
        len: u64,
    },
    Drop,
    Refresh {
        key: u64,
        len: usize,
    },
    Purge(Selection),
    Lookup {
        key: u64,
    },
    Sweep,
}

const LANGUAGES: [&str; 3] = ["de", "en", "fr"];

/// A fill in progress: it comes before what it replaces only if nothing purged it.
struct Begun {
    fill: Box<dyn Fill>,
    object: Known,
}

/// An object as the model knows it.
#[derive(Clone)]
struct Known {
    id: ObjectId,
    key: u64,
    language: usize,
    purged: bool,
}

struct World {
    store: MemoryStore,
    fills: Vec<Begun>,
    whole: Vec<Known>,
}

fn steps(len: u64) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..12_u64, 0..3_usize, 0..len).prop_map(|(key, language, len)| Step::Put { key, language, len }),
        4 => (0..12_u64, 0..3_usize, 0..len).prop_map(|(key, language, len)| Step::Begin { key, language, len }),
        1 => Just(Step::Drop),
        3 => (0..12_u64, 0..3000_usize).prop_map(|(key, len)| Step::Refresh { key, len }),
        1 => (0..12_u64).prop_map(|n| Step::Purge(Selection::Url(key(n)))),
        1 => (0..3_u8).prop_map(|n| Step::Purge(match n {
            0 => Selection::All,
            1 => Selection::Tag("page".into()),
            _ => Selection::Prefix { host: "a.example".into(), path: "/1".into() },
        })),
        4 => (0..12_u64).prop_map(|key| Step::Lookup { key }),
        1 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 0..120)
}

impl World {
    fn new(capacity: u64) -> Self {
        Self {
            store: MemoryStore::sized(capacity),
            fills: Vec::new(),
            whole: Vec::new(),
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Put { key, language, len } => {
                self.begin(*key, *language, *len).await;
                self.end(self.fills.len() - 1).await;
            }
            Step::Begin { key, language, len } => {
                self.begin(*key, *language, *len).await;
                if self.fills.len() > 4 {
                    self.end(0).await;
                }
            }
            Step::Drop => drop(self.fills.pop()),
            Step::Refresh { key, len } => self.refresh(*key, *len).await,
            Step::Purge(what) => self.purge(what).await,
            Step::Lookup { key: n } => drop(self.store.lookup(&key(*n)).await.unwrap()),
            Step::Sweep => drop(self.store.sweep().await),
        }
    }

    async fn begin(&mut self, n: u64, language: usize, len: u64) {
        let mut fill = self
            .store
            .insert(&key(n), meta(LANGUAGES[language]))
            .await
            .unwrap();
        fill.write(body(len / 2)).await.unwrap();
        fill.write(body(len - len / 2)).await.unwrap();
        let id = fill.stored().id;
        self.fills.push(Begun {
            fill,
            object: Known {
                id,
                key: n,
                language,
                purged: false,
            },
        });
    }

    async fn end(&mut self, n: usize) {
        let Begun { fill, object } = self.fills.remove(n);
        fill.finish(HeaderMap::new()).await.unwrap();
        let same = |other: &Known| (other.key, other.language) == (object.key, object.language);
        if object.purged
            || self
                .whole
                .iter()
                .any(|other| same(other) && other.id > object.id)
        {
            return;
        }
        self.whole.retain(|other| !same(other));
        self.whole.push(object);
    }

    async fn refresh(&mut self, n: u64, len: usize) {
        let Some(stored) = self.store.lookup(&key(n)).await.unwrap().pop() else {
            return;
        };
        let mut meta = Meta::clone(&stored.meta);
        let value = HeaderValue::from_bytes(&vec![b'x'; len]).unwrap();
        meta.headers.change(|map| drop(map.insert("x-more", value)));
        assert!(self.store.refresh(&key(n), stored.id, meta).await.unwrap());
    }

    async fn purge(&mut self, what: &Selection) {
        purge(&self.store, Purge::hard(what.clone())).await;
        let concerns = |n: u64| match what {
            Selection::Url(url) => *url == key(n),
            Selection::Prefix { path, .. } => key(n).target().starts_with(path.as_ref()),
            _ => true,
        };
        self.whole.retain(|object| !concerns(object.key));
        for begun in &mut self.fills {
            begun.object.purged |= concerns(begun.object.key);
        }
    }

    /// The same objects, in the same order.
    async fn assert_as_known(&self) {
        for n in 0..12 {
            let fills = self
                .fills
                .iter()
                .map(|begun| &begun.object)
                .filter(|object| !object.purged);
            let mut known: Vec<_> = self
                .whole
                .iter()
                .chain(fills)
                .filter(|object| object.key == n)
                .map(|object| object.id)
                .collect();
            known.sort_by_key(|id| std::cmp::Reverse(*id));
            let found: Vec<_> = self
                .store
                .lookup(&key(n))
                .await
                .unwrap()
                .iter()
                .map(|stored| stored.id)
                .collect();
            assert_eq!(found, known);
        }
    }

    /// Every byte is accounted for, those of fills apart.
    fn assert_bounds(&self) {
        let (objects, bytes) = counted(&self.store);
        let usage = self.store.0.usage();
        assert_eq!(usage.bytes, bytes + self.store.0.fills.used());
        assert_eq!(usage.objects, objects + self.store.0.growing.len());
        assert!(usage.bytes <= usage.capacity, "{usage:?}");
    }

    async fn assert_empties(mut self) {
        self.fills.clear();
        purge(&self.store, Purge::hard(Selection::All)).await;
        self.store.sweep().await;
        let usage = self.store.0.usage();
        assert_eq!((usage.objects, usage.bytes), (0, 0));
        assert_eq!(self.store.0.epochs.remembered(), 0);
    }
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn with_room_for_all_it_finds_what_a_plain_list_would(steps in steps(5_000)) {
        block_on(async {
            let mut world = World::new(16 * MIB);
            for step in &steps {
                world.step(step).await;
                world.assert_as_known().await;
                world.assert_bounds();
            }
            assert_eq!(world.store.0.usage().evicted, 0);
            world.assert_empties().await;
        });
    }

    #[test]
    fn with_little_room_every_byte_is_accounted_for(steps in steps(40_000)) {
        block_on(async {
            let mut world = World::new(MIB);
            for step in &steps {
                world.step(step).await;
                world.assert_bounds();
            }
            world.assert_empties().await;
        });
    }
}

/// Four threads that store, read and purge the same few URLs; every body must be one that was stored under its URL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_do_not_get_in_each_others_way() {
    let store = MemoryStore::sized(MIB);
    let mut threads = tokio::task::JoinSet::new();
    for thread in 0..4_u64 {
        let store = store.clone();
        threads.spawn(async move {
            for round in 0..1500_u64 {
                let n = (round * 7 + thread) % 20;
                match round % 50 {
                    0 => drop(purge(&store, Purge::hard(Selection::Url(key(n)))).await),
                    1 => drop(purge(&store, Purge::hard(Selection::Tag("page".into()))).await),
                    2 => drop(store.sweep().await),
                    k if k % 3 == 0 => store_text(&store, n, round).await,
                    _ => check_text(&store, n).await,
                }
            }
        });
    }
    while let Some(thread) = threads.join_next().await {
        thread.unwrap();
    }
    assert_exact(&store);
    purge(&store, Purge::hard(Selection::All)).await;
    store.sweep().await;
    let usage = store.0.usage();
    assert_eq!((usage.objects, usage.bytes), (0, 0));
}

async fn store_text(store: &MemoryStore, n: u64, round: u64) {
    let Ok(mut fill) = store
        .insert(&key(n), meta(LANGUAGES[(round % 3) as usize]))
        .await
    else {
        return;
    };
    for _ in 0..10 {
        // Passed on to nobody once there is no room.
        if fill
            .write(format!("{n:08} ").repeat(300).into())
            .await
            .is_err()
        {
            return;
        }
        tokio::task::yield_now().await;
    }
    fill.finish(HeaderMap::new()).await.unwrap();
}

async fn check_text(store: &MemoryStore, n: u64) {
    for stored in store.lookup(&key(n)).await.unwrap() {
        // A fill that was passed on, or given up, is an error, never a short body.
        let Ok(read) = stored.body.read(ByteRange::ALL).collect().await else {
            continue;
        };
        assert_eq!(read.to_bytes(), format!("{n:08} ").repeat(3000));
    }
}
