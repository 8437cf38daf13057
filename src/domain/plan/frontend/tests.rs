//! Plans against a bucket that is told in the plainest way: as a list of what happened.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::names::{ServiceName, TargetName};
use crate::domain::release::{Fingerprint, Version};

const KEYS: [&str; 12] = [
    "web/index.html",
    "web/assets/app-Ab12cd34.js",
    "web/assets/app-Ab12cd34.js.map",
    "web/a b.css",
    "web/50%.css",
    "web/a+b.js",
    "web/\u{fc}/\u{1f600}.svg",
    "web/dir/",
    "web/dir//x",
    "web/index.html.gz",
    "web/sw.js",
    "web/uploads/cat.jpg",
];

fn at(second: usize) -> Timestamp {
    Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
}

fn site() -> Site {
    Site {
        bucket: "shop".into(),
        prefix: "web/".into(),
        index: "index.html".into(),
        entry_points: vec![],
        ignore: vec![Pattern::parse("uploads/*").unwrap()],
        distribution: Some("E1".into()),
        paths: vec!["/*".into()],
        mark_deleted: true,
        max_shrink_percent: 50,
    }
}

fn version(label: &str) -> Version {
    Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] }
}

/// What happened to a key: content that could be seen from a moment on, or its deletion.
#[derive(Clone, Debug)]
struct Event {
    key: &'static str,
    id: String,
    modified: usize,
    content: Option<u8>,
}

/// In the order in which it could be seen.
#[derive(Clone, Debug, Default)]
struct Bucket(Vec<Event>);

impl Bucket {
    fn add(&mut self, key: &'static str, modified: usize, content: Option<u8>) {
        let id = format!("v{}", self.0.len());
        self.0.push(Event { key, id, modified, content });
    }

    /// What is there after the first `events`.
    fn state(&self, events: usize) -> BTreeMap<&'static str, &Event> {
        let mut state = BTreeMap::new();
        for event in &self.0[..events] {
            match event.content {
                Some(_) => state.insert(event.key, event),
                None => state.remove(event.key),
            };
        }
        state
    }

    fn contents(&self, events: usize) -> BTreeMap<&'static str, Option<u8>> {
        self.state(events).into_iter().map(|(key, event)| (key, event.content)).collect()
    }

    /// As the API lists it, in pages of this size.
    fn pages(&self, size: usize) -> Vec<Page> {
        let mut sorted: Vec<&Event> = self.0.iter().rev().collect();
        sorted.sort_by_key(|event| event.key);
        let newest = |event: &Event| self.0.iter().rfind(|e| e.key == event.key).unwrap().id == event.id;
        let page = |events: &[&Event]| {
            let mut page = Page::default();
            for event in events {
                let (key, latest, modified) = (event.key.to_string(), newest(event), at(event.modified));
                match event.content {
                    Some(content) => page.objects.push((
                        key,
                        ObjectVersion {
                            id: event.id.clone(),
                            etag: format!("e{content}"),
                            size: u64::from(content),
                            modified,
                            archive: None,
                            latest,
                        },
                    )),
                    None => page.markers.push((key, Marker { id: event.id.clone(), modified, latest })),
                }
            }
            page
        };
        sorted.chunks(size).map(page).collect()
    }

    fn histories(&self, size: usize) -> Vec<KeyHistory> {
        let mut gathering = Gathering::default();
        let mut all: Vec<KeyHistory> =
            self.pages(size).into_iter().flat_map(|page| gathering.take(page)).collect();
        all.extend(gathering.finish());
        all
    }

    fn compare(&self, aim: Aim, size: usize) -> Compared {
        let mut comparing = Comparing::new(site(), aim);
        self.histories(size).iter().for_each(|history| comparing.take(history));
        comparing.finish()
    }

    fn manifest(&self) -> Manifest {
        let mut manifest = Manifest::new(version("good"), at(0));
        self.histories(7).iter().for_each(|history| manifest.take(&site(), history));
        manifest
    }

    /// Carries out a line as S3 would.
    fn carry_out(&mut self, line: &Line, second: usize) {
        let key = KEYS.into_iter().find(|key| *key == line.key).unwrap();
        let content = match &line.change {
            Change::MarkDeleted => None,
            Change::Copy { version, .. } => self.0.iter().find(|e| e.id == *version).unwrap().content,
        };
        self.add(key, second, content);
    }

    fn rest(&self, sheet: &Sheet) -> String {
        let mut rest = Rest::default();
        let touched = |history: &KeyHistory| sheet.lines.iter().any(|line| line.key == history.key);
        self.histories(5).iter().filter(|h| !touched(h)).for_each(|history| rest.take(&site(), history));
        rest.finish()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(usize, u8),
    Delete(usize),
    /// A multipart upload that is completed so many operations later.
    Upload(usize, u8, usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0..KEYS.len();
    let op = prop_oneof![
        5 => (key.clone(), 0u8..6).prop_map(|(key, content)| Op::Put(key, content)),
        2 => key.clone().prop_map(Op::Delete),
        1 => (key, 0u8..6, 1usize..4).prop_map(|(key, content, later)| Op::Upload(key, content, later)),
    ];
    prop::collection::vec(op, 1..40)
}

/// The bucket after all operations, one in each second, and how many events there were after the first `cut`.
fn run(ops: &[Op], cut: usize) -> (Bucket, usize, bool) {
    let (mut bucket, mut events, mut uploads) = (Bucket::default(), 0, false);
    let mut pending: Vec<(usize, usize, &'static str, u8)> = Vec::new();
    for (second, op) in ops.iter().enumerate() {
        pending.retain(|(due, begun, key, content)| {
            let done = *due <= second;
            if done {
                bucket.add(key, *begun, Some(*content));
            }
            !done
        });
        match op {
            Op::Put(key, content) => bucket.add(KEYS[*key], second, Some(*content)),
            Op::Delete(key) => bucket.add(KEYS[*key], second, None),
            Op::Upload(key, content, later) => {
                uploads = true;
                pending.push((second + later, second, KEYS[*key], *content));
            }
        }
        if second < cut {
            events = bucket.0.len();
        }
    }
    (bucket, events, uploads)
}

/// Without what is no part of a release.
fn of_release(mut contents: BTreeMap<&'static str, Option<u8>>) -> BTreeMap<&'static str, Option<u8>> {
    contents.retain(|key, _| !site().ignores(key));
    contents
}

fn check(bucket: &Bucket, compared: &Compared, wanted: &BTreeMap<&'static str, Option<u8>>, seconds: usize) {
    let ignored = |b: &Bucket| b.contents(b.0.len()).get(KEYS[11]).copied();
    let mut after = bucket.clone();
    for (done, line) in compared.sheet.lines.iter().enumerate() {
        let histories = after.histories(3);
        let of = |key: &str| histories.iter().find(|history| history.key == key);
        assert_eq!(line.standing(of(&line.key)), Standing::Open, "{line:?}");
        assert_eq!(after.rest(&compared.sheet), compared.sheet.rest);
        after.carry_out(line, seconds + done);
        let histories = after.histories(3);
        let now = histories.iter().find(|history| history.key == line.key);
        assert_eq!(line.standing(now), Standing::Done, "{line:?}");
    }
    assert_eq!(of_release(after.contents(after.0.len())), *wanted);
    assert_eq!(ignored(&after), ignored(bucket));
    assert!(compared.sheet.lines.is_sorted_by_key(|line| line.stage));
    let tally = &compared.tally;
    let then = tally.now + tally.brought_back - tally.marked_deleted;
    assert_eq!(usize::try_from(then).unwrap(), wanted.len());
    assert_eq!(tally.index, wanted.contains_key(KEYS[0]));
    assert_eq!(usize::try_from(tally.copied + tally.marked_deleted).unwrap(), compared.sheet.lines.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_a_manifest_recorded_is_there_again(ops in ops(), cut in 0usize..40, size in 1usize..9) {
        let (bucket, events, _) = run(&ops, cut);
        let then = Bucket(bucket.0[..events].to_vec());
        let manifest = then.manifest();
        let naive: BTreeMap<&str, &str> =
            then.state(events).into_iter().filter(|(k, _)| !site().ignores(k)).map(|(k, e)| (k, e.id.as_str())).collect();
        let recorded = manifest.objects.iter().map(|(key, r)| (key.as_str(), r.version.as_str())).collect();
        prop_assert_eq!(naive, recorded);
        let compared = bucket.compare(Aim::Manifest(Arc::new(manifest)), size);
        prop_assert_eq!(compared.lost_count, 0);
        check(&bucket, &compared, &of_release(bucket.contents(events)), ops.len());
    }

    #[test]
    fn without_a_manifest_times_tell_what_was_there(ops in ops(), cut in 1usize..40, size in 1usize..9) {
        let (bucket, events, uploads) = run(&ops, cut);
        let second = cut.min(ops.len()) - 1;
        let compared = bucket.compare(Aim::Time(at(second)), size);
        let wanted = match uploads {
            // The times of uploads tell when they were begun: the newest version that had begun by then.
            true => {
                let by_time = |key: &&'static str| {
                    let found = bucket.0.iter().rfind(|e| e.key == *key && e.modified <= second)?;
                    Some((*key, Some(found.content?)))
                };
                KEYS.iter().filter_map(by_time).collect()
            }
            false => bucket.contents(events),
        };
        if !uploads {
            check(&bucket, &compared, &of_release(wanted), ops.len());
        } else {
            prop_assert!(compared.sheet.lines.len() <= KEYS.len());
        }
    }
}

fn survey_of(bucket: &Bucket, manifest: Manifest) -> FrontendSurvey {
    let to = manifest.version.clone();
    let recorded_at = manifest.recorded_at;
    let compared = bucket.compare(Aim::Manifest(Arc::new(manifest)), 4);
    let (sheet, _) = compared.sheet.sealed();
    let target =
        TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("web").unwrap() };
    FrontendSurvey {
        target,
        site: site(),
        version: version("bad"),
        versioning: "Enabled".into(),
        ways: vec![Way::new(to, Origin::Manifest { recorded_at }, &compared, sheet)],
        distribution: None,
    }
}

/// Good: an index, an asset and a picture. Bad: another index, another asset, the earlier ones gone.
fn released() -> (Bucket, Manifest) {
    let mut bucket = Bucket::default();
    [KEYS[0], KEYS[1], KEYS[3], KEYS[10]].into_iter().for_each(|key| bucket.add(key, 1, Some(1)));
    let manifest = bucket.manifest();
    bucket.add(KEYS[0], 2, Some(2));
    bucket.add(KEYS[1], 2, None);
    bucket.add(KEYS[5], 2, Some(2));
    bucket.add(KEYS[10], 2, Some(2));
    (bucket, manifest)
}

fn drafted(survey: &FrontendSurvey) -> Result<Plan, String> {
    let goal = Goal::Version(version("good"));
    draft(survey, &goal, "shop-1").map_err(|refusal| format!("{refusal}; {}", refusal.advice()))
}

#[test]
fn a_plan_puts_assets_first_and_the_index_last_and_then_deletes_and_invalidates() {
    let (bucket, manifest) = released();
    let survey = survey_of(&bucket, manifest);
    let plan = drafted(&survey).unwrap();
    let titles: Vec<&str> = plan.steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "put back 1 asset of good (1 B) in s3://shop/web/, as recorded at 1970-01-01 00:00:00 UTC",
            "put back 1 entry point of good (1 B) in s3://shop/web/, as recorded at 1970-01-01 00:00:00 UTC",
            "put back index.html of good last",
            "mark 1 object that good did not have as deleted in s3://shop/web/",
            "invalidate /* in CloudFront distribution E1",
            "await the end of the invalidation",
        ]
    );
    assert_eq!(
        plan.steps[0].action.details(),
        [
            "in all: 3 objects put back (3 B), 1 marked as deleted, 1 unchanged",
            "bring back web/assets/app-Ab12cd34.js (version v1)"
        ]
    );
    let again: Plan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
    assert_eq!(again, plan, "as the journal keeps it");
    let references = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Frontend(FrontendAction::Invalidate(i)) => Some(i.reference.clone()),
        Action::Frontend(FrontendAction::AwaitInvalidation(a)) => Some(a.reference.clone()),
        _ => None,
    });
    assert_eq!(references.collect::<Vec<_>>(), ["rollguard-shop-1-4"; 2]);
}

#[test]
fn what_cannot_be_restored_safely_is_refused() {
    let (bucket, manifest) = released();
    let good = survey_of(&bucket, manifest.clone());
    let refused = |change: &dyn Fn(&mut FrontendSurvey)| {
        let mut survey = good.clone();
        change(&mut survey);
        drafted(&survey).unwrap_err()
    };
    insta::assert_snapshot!(
        [
            refused(&|s| s.versioning = "Suspended".into()),
            refused(&|s| s.version = version("good")),
            refused(&|s| s.ways.clear()),
            refused(&|s| s.distribution = Some("AccessDenied: no right".into())),
            refused(&|s| s.ways[0].tally.index = false),
            refused(&|s| s.ways[0].tally.marked_deleted = 4),
            {
                let mut manifest = manifest.clone();
                manifest.objects.get_mut(KEYS[1]).unwrap().version = "expired".into();
                let never = manifest.objects[KEYS[3]].clone();
                manifest.objects.insert("web/zzz".into(), never);
                drafted(&survey_of(&bucket, manifest)).unwrap_err()
            },
            draft(&good, &Goal::Revision(3), "shop-1").unwrap_err().to_string(),
        ]
        .join("\n")
    );
}

#[test]
fn an_archived_version_is_refused_only_if_it_must_be_read() {
    let object = |id: &str, latest, archive: Option<&str>| ObjectVersion {
        id: id.into(),
        etag: id.into(),
        size: 1,
        modified: at(1),
        archive: archive.map(String::from),
        latest,
    };
    let lost = |now: &str, wanted: &str| {
        let mut gathering = Gathering::default();
        let objects = [object("b", now == "b", None), object("a", now == "a", Some("GLACIER"))];
        let objects = objects.into_iter().map(|o| (KEYS[0].to_string(), o)).collect();
        let mut page = Page { objects, markers: vec![] };
        page.objects.sort_by_key(|(_, o)| !o.latest);
        let mut manifest = Manifest::new(version("good"), at(0));
        let recorded = Recorded {
            version: wanted.into(),
            etag: wanted.into(),
            size: 1,
            content_type: None,
            cache_control: None,
        };
        manifest.objects.insert(KEYS[0].into(), recorded);
        let mut comparing = Comparing::new(site(), Aim::Manifest(Arc::new(manifest)));
        gathering.take(page).iter().chain(&gathering.finish()).for_each(|h| comparing.take(h));
        comparing.finish().lost
    };
    assert_eq!(lost("b", "a"), [Lost { key: KEYS[0].into(), archive: Some("GLACIER".into()) }]);
    assert_eq!(lost("a", "a"), []);
}

#[test]
fn the_order_of_objects_follows_from_their_names() {
    let stage = |name: &str| site().stage(&format!("web/{name}"));
    for name in
        ["assets/index-BxT3k9Qa.js", "static/js/main.4fa1c2d8.chunk.js", "fonts/inter-a1b2c3d4e5.woff2"]
    {
        assert_eq!(stage(name), Stage::Assets, "{name}");
    }
    for name in ["robots.txt", "img/background.png", "js/my-component.js", "dir/"] {
        assert_eq!(stage(name), Stage::Others, "{name}");
    }
    for name in
        ["about/index.html", "sw.js", "app/Service-Worker.js", "site.webmanifest", "asset-manifest.json"]
    {
        assert_eq!(stage(name), Stage::EntryPoints, "{name}");
    }
    assert_eq!(stage("index.html"), Stage::Index);
}

#[test]
fn patterns_match_whole_names() {
    let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
    assert!(matches("sitemap.xml", "sitemap.xml") && !matches("sitemap.xml", "sitemap.xml.gz"));
    assert!(matches("uploads/*", "uploads/a/b") && !matches("uploads/*", "my/uploads/a"));
    assert!(matches("*.map", "a.js.map") && matches("a*b*c", "abbc") && !matches("a*a", "a"));
    assert!(Pattern::parse("**").is_none() && Pattern::parse("").is_none());
}

#[test]
fn a_sheet_is_cut_into_steps_by_stage_and_opened_only_by_its_own_digest() {
    let line = |n: usize| Line {
        key: format!("web/{n}"),
        stage: if n < 2500 { Stage::Assets } else { Stage::Others },
        found: Found::Nothing,
        change: Change::Copy { version: "v".into(), etag: "e".into(), size: 2 },
    };
    let sheet = Sheet { lines: (0..2600).map(line).collect(), rest: String::new() };
    let slices: Vec<_> = sheet.slices().into_iter().map(|s| (s.stage, s.lines, s.bytes)).collect();
    let assets = |lines: std::ops::Range<usize>| (Stage::Assets, lines.clone(), 2 * lines.len() as u64);
    let others = (Stage::Others, 2500..2600, 200);
    assert_eq!(slices, [assets(0..1000), assets(1000..2000), assets(2000..2500), others]);
    let (digest, text) = sheet.sealed();
    assert_eq!(Sheet::opened(&digest, &text), Some(sheet));
    assert_eq!(Sheet::opened(&digest, b"{}"), None);
}

fn entry(second: usize, content: Option<&str>) -> EntryVersion {
    let content = content.map(|hash| EntryContent { hash: hash.into(), label: Some(hash.into()) });
    EntryVersion { modified: at(second), content }
}

#[test]
fn the_history_of_a_frontend_is_that_of_its_entry_points() {
    let versions = vec![
        entry(9000, Some("v1")),
        entry(6000, Some("v2")),
        entry(4000, None),
        entry(3001, Some("v1")),
        entry(3000, Some("v1")),
        entry(100, Some("v0")),
    ];
    let entries = BTreeMap::from([("web/index.html".to_string(), versions)]);
    let eras = eras(&site(), &entries);
    let told: Vec<_> = eras.iter().map(|e| (e.version.label.as_str(), e.since, e.until)).collect();
    assert_eq!(
        told,
        [
            ("v0", at(100), Some(at(3000))),
            ("v1", at(3000), Some(at(4000))),
            ("no index.html", at(4000), Some(at(6000))),
            ("v2", at(6000), Some(at(9000))),
            ("v1", at(9000), None),
        ]
    );
    assert_eq!(eras[0].settled_at(), Some(at(2700)), "before the deploy after it began to upload");
    assert_eq!(eras[1].settled_at(), Some(at(3700)));
    assert_eq!(eras[4].settled_at(), None);
    let history: Vec<_> = history(&eras).into_iter().map(|g| (g.version.label, g.created_at)).collect();
    let expected = [("v0", at(100)), ("no index.html", at(4000)), ("v2", at(6000)), ("v1", at(3000))]
        .map(|(l, t)| (l.to_string(), t));
    assert_eq!(history, expected, "v1 came first before v2: somebody went back to it");
}

#[test]
fn entry_points_that_are_written_together_are_one_version() {
    let site = Site { entry_points: vec!["sw.js".into()], ..site() };
    let entries = BTreeMap::from([
        ("web/index.html".to_string(), vec![entry(1010, Some("v2")), entry(10, Some("v1"))]),
        ("web/sw.js".to_string(), vec![entry(1000, Some("w2")), entry(12, Some("w1"))]),
    ]);
    let eras = eras(&site, &entries);
    let told: Vec<_> = eras.iter().map(|e| (e.version.label.as_str(), e.since, e.until)).collect();
    assert_eq!(told, [("v1", at(12), Some(at(1000))), ("v2", at(1010), None)]);
}
