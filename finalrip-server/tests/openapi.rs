//! The OpenAPI document is one, and the server answers as it says: schemathesis asks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::{Live, TOKEN};
use finalrip_server::OPENAPI;
use serde_json::Value;

/// How many questions each operation is asked at random, beside those that follow from its schema. The same ones each time.
const EXAMPLES: &str = "8";
const SEED: &str = "1";

/// What is not checked, and why:
/// - `ignored_auth`: routes of the API document answer 200 when a token is missing or wrong, with `success: false`.
/// - `negative_data_rejection`: the same for what makes no sense; and unknown fields are ignored on purpose.
const NOT_CHECKED: &str = "ignored_auth,negative_data_rejection";

/// A stream without an end: whoever reads all of it waits for ever.
const ENDLESS: &str = "/api/v1/task/events";

async fn judge(name: &str, folder: &Path, arguments: &[&str]) -> Output {
    let program = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/judges/bin")).join(name);
    let mut judge = tokio::process::Command::new(&program);
    judge.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    judge.output().await.unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", program.display()))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The document itself, which schemathesis reads and does not ask about.
const DOCUMENT: &str = "/openapi.json";

/// How many operations schemathesis asks about.
fn operations() -> usize {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods =
        |path: &Value| ["get", "head", "post", "put"].iter().filter(|method| !path[*method].is_null()).count();
    paths.iter().filter(|(path, _)| ![ENDLESS, DOCUMENT].contains(&path.as_str())).map(|(_, path)| methods(path)).sum()
}

/// What schemathesis is told of the tasks that there are, and of a link to an object.
fn settings(link: &str) -> String {
    let query = link.split_once('?').unwrap().1;
    let plain = |value| percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    // As TOML and as JSON: these texts are written alike.
    let parameters = parameters.map(|(name, value)| format!("{name} = {}", Value::from(plain(value))));
    let parameters: Vec<String> = parameters.collect();
    // A condition that does not hold, and a range behind the end, are valid questions too.
    let accepted = "\"2xx\", \"3xx\", 401, 403, 404, 409, 412, 416";
    format!(
        "[checks.positive_data_acceptance]\nexpected-statuses = [{accepted}]\n\
         [dictionaries.keys]\nvalues = [\"new.mkv\", \"running.mkv\", \"done.mkv\"]\n\
         [parameters]\nvideo_key = {{ dictionary = \"keys\", probability = 0.6 }}\n\
         [[operations]]\ninclude-path = \"/api/v1/task/progress\"\nparameters = {{ video_key = \"done.mkv\" }}\n\
         [[operations]]\ninclude-path = \"/api/v1/task/clip\"\n\
         parameters = {{ video_key = \"done.mkv\", index = 1 }}\n\
         [[operations]]\ninclude-path = \"/objects/{{key}}\"\nparameters = {{ key = \"done.mkv\", {} }}\n",
        parameters.join(", ")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_an_openapi_document() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("openapi.json"), OPENAPI).unwrap();
    let judged = judge("openapi-spec-validator", folder.path(), &["--schema", "3.1", "openapi.json"]).await;
    assert!(judged.status.success(), "{}", said(&judged));
    std::fs::write(folder.path().join("openapi.json"), OPENAPI.replace("\"in\"", "\"inn\"")).unwrap();
    let judged = judge("openapi-spec-validator", folder.path(), &["--schema", "3.1", "openapi.json"]).await;
    assert!(!judged.status.success(), "it finds nothing: {}", said(&judged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_the_document_says() {
    let live = Live::start().await;
    live.completed("done.mkv", 3).await;
    live.planned("running.mkv", 2).await;
    live.task("new.mkv").await;
    // The source is no film, so that nothing can be cut of it.
    live.put_object("done.mkv-clip-1.mkv").await;
    let link = live.about("progress", "done.mkv").await.data()["url"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("schemathesis.toml"), settings(&link)).unwrap();
    let (document, token) = (format!("http://{}{DOCUMENT}", live.address), format!("token: {TOKEN}"));
    let arguments = ["run", &document, "--header", &token, "--exclude-path", ENDLESS, "--exclude-checks", NOT_CHECKED];
    let bounds = ["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED, "--no-shrink"];
    let rest = ["--generation-database", "none", "--request-timeout", "60", "--no-color"];
    let judged = judge("schemathesis", folder.path(), &[&arguments[..], &bounds, &rest].concat()).await;
    let said = said(&judged);
    assert!(judged.status.success(), "{said}");
    assert!(said.contains(&format!("  Tested: {}\n", operations())), "{said}");
    // It warns of operations that never did what they are for. The link is for reading: a PUT is refused.
    for read in ["  - GET /objects/{key}", "  - HEAD /objects/{key}", "  - GET /api/v1/task/clip"] {
        assert!(!said.contains(read), "{said}");
    }
    live.stop().await;
}
