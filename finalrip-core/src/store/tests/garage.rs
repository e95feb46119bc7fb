//! The kit against Garage, an S3-compatible store.

mod server;

use std::time::SystemTime;

use super::*;
use crate::store::{Access, Credentials, S3Config, attachment};
use server::{ACCESS_KEY, Garage, SECRET_KEY};

fn store(garage: &Garage) -> Store {
    let (access_key, secret_key) = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
    Store::open(&StoreConfig::S3(Box::new(S3Config {
        endpoint: Some(garage.endpoint()),
        public_endpoint: None,
        region: "garage".to_owned(),
        bucket: "films".to_owned(),
        path_style: true,
        allow_http: true,
        credentials: Credentials { access_key, secret_key, session_token: None },
        retries: Retries { pause: Duration::from_millis(20), ..Retries::default() },
    })))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the program garage; make test-long"]
async fn garage_behaves() {
    let garage = Garage::start();
    let store = store(&garage);
    kit::all(&store, 8 << 20).await;
    links(&store).await;
    let mut upload = store.upload(&video("unfinished.mkv").result(), None).unwrap();
    upload.write(noise(17 << 20, 1)).await.unwrap();
    // As if the process had been killed: nothing aborts it.
    std::mem::forget(upload);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.remove_unfinished(Duration::ZERO).await.unwrap(), 0);
}

async fn links(store: &Store) {
    // The client asks for one, also without TLS. Another test may have been faster.
    drop(rustls::crypto::ring::default_provider().install_default());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for text in crate::store::key::tests::NASTY {
        let (key, content) = (video(text).source(), noise(1_000, 2));
        let later = SystemTime::now() + Duration::from_secs(60);
        let link = store.link(&key, Access::Upload, later, "").await.unwrap();
        assert!(http.put(link).body(content.clone()).send().await.unwrap().status().is_success(), "{text}");
        let link = store.link(&key, Access::Download, later, "").await.unwrap();
        assert!(!http.put(&link).body("other").send().await.unwrap().status().is_success());
        let whole = http.get(&link).send().await.unwrap();
        assert_eq!(whole.status(), 200, "{text}");
        // Garage gives no name with a part.
        let disposition = whole.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert_eq!(disposition, attachment(key.video().file_name()));
        assert!(whole.bytes().await.unwrap() == content);
        let part = http.get(link).header("range", "bytes=10-19").send().await.unwrap();
        assert_eq!(part.status(), 206, "{text}");
        assert!(part.bytes().await.unwrap() == content[10..20]);
        store.delete(&key).await.unwrap();
    }
}
