//! Files that are not what was written.

use super::*;

/// What is at most changed in a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip { bit: u8 },
    Cut,
    Zero { len: usize },
    Grow,
    Remove,
}

/// As the store left it, and what each key had.
struct Sound {
    directory: TempDir,
    bodies: HashMap<CacheKey, Vec<Vec<u8>>>,
    purged: Vec<CacheKey>,
}

async fn sound() -> Sound {
    let directory = directory();
    let store = reopened(|| builder(directory.path()).capacity(32 << 20));
    let (mut bodies, mut purged) = (HashMap::<_, Vec<_>>::new(), Vec::new());
    for n in 0..24_usize {
        let url = key(&format!("/{}", n % 18));
        let body = content(n as u8, [10, 3_000, 150_000, 400_000][n % 4]);
        put(
            &store,
            &url,
            fresh().with_tags([format!("{}", n % 5)]),
            &body,
        )
        .await;
        bodies.entry(url).or_default().push(body);
    }
    for n in [1, 7] {
        purged.push(key(&format!("/{n}")));
        store
            .purge(&Purge::hard(Selection::Url(key(&format!("/{n}")))))
            .await
            .unwrap();
    }
    store
        .purge(&Purge::hard(Selection::Tag("3".into())))
        .await
        .unwrap();
    // Those with the tag that were not stored again without it.
    purged.extend([8, 13].map(|n| key(&format!("/{n}"))));
    put(&store, &key("/last"), fresh(), b"last").await;
    bodies.insert(key("/last"), vec![b"last".to_vec()]);
    drop(store);
    open_at(directory.path());
    Sound {
        directory,
        bodies,
        purged,
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn damage(file: &Path, damage: Damage, place: f64) {
    let mut bytes = fs::read(file).unwrap();
    let at = (bytes.len() as f64 * place) as usize;
    match damage {
        Damage::Flip { bit } => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Damage::Cut => bytes.truncate(at),
        Damage::Zero { len } => bytes
            .iter_mut()
            .skip(at)
            .take(len)
            .for_each(|byte| *byte = 0),
        Damage::Grow => bytes.extend_from_slice(&content(7, at + 1)),
        Damage::Remove => return fs::remove_file(file).unwrap(),
    }
    fs::write(file, bytes).unwrap();
}

/// Never a wrong byte, and nothing purged, unless the log of purges has been cut: then a purge may be missing.
async fn check(sound: &Sound, path: &Path, purges_lost: bool, case: &str) {
    let store = reopened(|| builder(path).capacity(32 << 20));
    for (url, bodies) in &sound.bodies {
        for stored in find(&store, url).await {
            assert!(
                purges_lost || !sound.purged.contains(url),
                "{url} is back: {case}"
            );
            if let Ok(read) = stored.body.read(ByteRange::ALL).collect().await {
                let read = read.to_bytes();
                assert!(
                    bodies.iter().any(|body| read == *body),
                    "{url}'s bytes: {case}"
                );
            }
        }
    }
    put(&store, &key("/new"), fresh(), b"new").await;
    assert_eq!(
        read(&find(&store, &key("/new")).await[0]).await,
        b"new",
        "{case}"
    );
}

#[tokio::test]
async fn no_damage_makes_a_wrong_answer() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let sound = sound().await;
    let kind = prop_oneof![
        4 => (0..8_u8).prop_map(|bit| Damage::Flip { bit }),
        2 => Just(Damage::Cut),
        2 => (1..5000_usize).prop_map(|len| Damage::Zero { len }),
        1 => Just(Damage::Grow),
        1 => Just(Damage::Remove),
    ];
    let case = (kind, any::<prop::sample::Index>(), 0.0..1.0_f64);
    let mut runner = TestRunner::deterministic();
    for _ in 0..250 {
        let (kind, which, place) = case.new_tree(&mut runner).unwrap().current();
        let damaged = directory();
        copy(sound.directory.path(), damaged.path());
        let files = files(damaged.path());
        let file = &files[which.index(files.len())];
        // Without its mark, a directory is no longer ours.
        if matches!(kind, Damage::Remove) && file.ends_with("cirrus-cache") {
            continue;
        }
        damage(file, kind, place);
        let purges_lost = file.ends_with("purges") && matches!(kind, Damage::Cut);
        let case = format!("{kind:?} of {} at {place}", file.display());
        check(&sound, damaged.path(), purges_lost, &case).await;
    }
}

/// A log that lacks a purge is noticed if anything that was stored later knows of that.
#[tokio::test]
async fn a_log_of_purges_that_was_cut_empties_the_store() {
    let sound = sound().await;
    let path = sound.directory.path().join("purges");
    let len = fs::metadata(&path).unwrap().len();
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len / 2)
        .unwrap();
    let store = open_at(sound.directory.path());
    assert!(find(&store, &key("/last")).await.is_empty());
    assert_eq!(store.usage().unwrap().objects, 0);
}

/// While the store is open, too.
#[tokio::test]
async fn a_block_that_changes_is_noticed() {
    let directory = directory();
    let store = open_at(directory.path());
    put(&store, &key("/"), fresh(), &content(1, 1_000_000)).await;
    let stored = find(&store, &key("/")).await.remove(0);
    let data = directory.path().join("segments/0000000001.data");
    damage(&data, Damage::Flip { bit: 3 }, 0.75);
    let read = stored.body.read(ByteRange::ALL).collect().await;
    assert!(read.is_err());
    assert!(
        find(&store, &key("/")).await.is_empty(),
        "and not found any more"
    );
}
