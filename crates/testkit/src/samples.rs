//! Sample events, with what must be there before one makes sense.

#![expect(clippy::expect_used, reason = "for tests only: a sample that is not readable is a bug")]

use dunlin_cloud::ObjectStore;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

/// `events/<name>`.
pub fn event(name: &str) -> Value {
    let text = std::fs::read(events().join(name)).expect("a sample event");
    serde_json::from_slice(&text).expect("json")
}

/// A sample about the batch of `events/regions`, once its file and what was asked for are among `objects`.
pub async fn price_batch(objects: &dyn ObjectStore, name: &str) -> Value {
    let mut event = event(name);
    let text = |field: &str| event["batch"][field].as_str().expect("a text").to_owned();
    let (key, asked) = (text("key"), format!("price-requests/{}/{}.json", text("tenant"), text("batch_id")));
    for (key, file) in [(&asked, "asked.json"), (&key, "regions.csv")] {
        let body = std::fs::read(events().join("regions").join(file)).expect("a sample file");
        objects.put(key, body.into(), "text/plain").await.expect("storage");
    }
    let about = objects.head(&key).await.expect("storage").expect("the file");
    event["batch"]["etag"] = about.etag.into();
    event["batch"]["bytes"] = about.bytes.into();
    event
}
