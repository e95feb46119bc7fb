//! Links that expire: what they open, and everything that they do not.

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use object_store::signer::Url;
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::*;
use crate::store::key::tests::{NASTY, long_keys};
use crate::store::sign::{Reason, STRICT, Signer};
use crate::store::{Access, Credentials, S3Config, attachment};

const BASE: &str = "http://127.0.0.1:8848/objects/";
const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A link's decoded path and its query, as a server gets them.
fn split(link: &str) -> (String, String) {
    let (path, query) = link.strip_prefix(BASE).expect("the base").split_once('?').expect("a query");
    (percent_decode_str(path).decode_utf8().unwrap().into_owned(), query.to_owned())
}

#[tokio::test]
async fn a_folders_link_opens_one_object_for_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = local_store(folder.path());
    for text in NASTY.iter().map(ToString::to_string).chain(long_keys()) {
        let key = video(&text).source();
        for access in [Access::Upload, Access::Download] {
            let link = store.link(&key, access, now() + HOUR, BASE).await.unwrap();
            assert!(Url::parse(&link).is_ok_and(|url| url.as_str() == link), "{link} is not changed by a client");
            let (path, query) = split(&link);
            assert_eq!(path, text);
            let (method, other) = if access == Access::Upload { ("PUT", "GET") } else { ("GET", "PUT") };
            let granted = store.check_link(method, &path, &query, now()).unwrap();
            assert_eq!(granted.access, access);
            let disposition = (access == Access::Download).then(|| attachment(key.video().file_name()));
            assert_eq!(granted.disposition, disposition);
            assert!(store.check_link(other, &path, &query, now()).is_err());
            // As a client writes it that puts queries together as forms.
            assert_eq!(store.check_link(method, &path, &query.replace("%20", "+"), now()).unwrap(), granted);
        }
    }
    // Another store has another secret; the same one, opened again, the same.
    let link = store.link(&video("a").source(), Access::Download, now() + HOUR, BASE).await.unwrap();
    let (path, query) = split(&link);
    assert!(local_store(folder.path()).check_link("GET", &path, &query, now()).is_ok());
    let other = tempfile::tempdir().unwrap();
    assert!(local_store(other.path()).check_link("GET", &path, &query, now()).is_err());
}

#[test]
fn every_way_to_alter_a_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::open(&folder.path().join("secret")).unwrap();
    let disposition = attachment("a.mkv");
    let query = signer.sign(Access::Download, "a.mkv", now() + HOUR, Some(&disposition));
    let check = |method: &str, key: &str, query: &str, at| {
        signer.verify(method, key, query, at).map(|granted| granted.access).map_err(|refused| {
            assert_eq!(refused.to_string(), "the link is not valid, or no longer");
            refused.reason()
        })
    };
    assert_eq!(check("GET", "a.mkv", &query, now()), Ok(Access::Download));
    assert_eq!(check("HEAD", "a.mkv", &query, now()), Ok(Access::Download));
    assert_eq!(check("GET", "a.mkv", &format!("{query}&utm=1"), now()), Ok(Access::Download));
    for method in ["PUT", "DELETE", "POST", "get", ""] {
        assert_eq!(check(method, "a.mkv", &query, now()), Err(Reason::WrongMethod), "{method}");
    }
    for key in ["b.mkv", "a.mkv ", "A.mkv", "a.mkv-Encoded.mkv", "../a.mkv", ""] {
        assert_eq!(check("GET", key, &query, now()), Err(Reason::OtherKey), "{key}");
    }
    for late in [HOUR, HOUR * 2, HOUR * 1_000_000] {
        assert_eq!(check("GET", "a.mkv", &query, now() + late), Err(Reason::Expired));
    }
    assert_eq!(check("GET", "a.mkv", &query, now() + HOUR - Duration::from_secs(1)), Ok(Access::Download));
    // The clock went back.
    assert_eq!(check("GET", "a.mkv", &query, SystemTime::UNIX_EPOCH), Ok(Access::Download));

    let fields: Vec<&str> = query.split('&').collect();
    let replaced = |place: usize, field: String| {
        let mut fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        fields[place] = field;
        fields.join("&")
    };
    let expires = 1_800_000_000 + 2 * 3600;
    let other_key = signer.sign(Access::Download, "b.mkv", now() + HOUR, Some(&disposition));
    let altered = [
        replaced(0, "m=PUT".into()),
        replaced(1, other_key.split('&').nth(1).unwrap().into()),
        replaced(2, format!("e={expires}")),
        replaced(3, "d=inline".into()),
        replaced(4, format!("s={}", "A".repeat(43))),
        [fields[0], fields[1], fields[2], fields[4]].join("&"),
    ];
    for query in altered {
        for method in ["GET", "PUT"] {
            assert_eq!(check(method, "a.mkv", &query, now()), Err(Reason::BadSignature), "{query}");
            assert_eq!(check(method, "b.mkv", &query, now()), Err(Reason::BadSignature), "{query}");
        }
    }
    let mut malformed = vec![String::new(), "&&&".into(), format!("{query}&m=GET"), format!("{query}&e=1")];
    malformed.extend((0..5).filter(|place| *place != 3).map(|gone| {
        let kept = fields.iter().enumerate().filter(|(place, _)| *place != gone);
        kept.map(|(_, field)| *field).collect::<Vec<_>>().join("&")
    }));
    malformed.extend([
        replaced(0, "m=DELETE".into()),
        replaced(2, "e=+1800003600".into()),
        replaced(2, "e=01800003600".into()),
        replaced(2, "e=99999999999999999999".into()),
        replaced(3, "d=%ff".into()),
        replaced(4, "s=".into()),
        replaced(4, format!("{}=", fields[4])),
        replaced(4, format!("{}A", fields[4])),
    ]);
    for query in malformed {
        assert_eq!(check("GET", "a.mkv", &query, now()), Err(Reason::Malformed), "{query}");
    }
}

#[test]
fn no_single_character_of_a_link_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::open(&folder.path().join("secret")).unwrap();
    let query = signer.sign(Access::Upload, "a.mkv", now() + HOUR, None);
    for place in 0..query.len() {
        for new in ['A', 'B', '0', '1', '-', '_', '=', '&', '%', '+'] {
            let mut altered = query.clone();
            altered.replace_range(place..=place, &new.to_string());
            let same = altered == query;
            assert_eq!(signer.verify("PUT", "a.mkv", &altered, now()).is_ok(), same, "{altered}");
        }
    }
}

fn bucket(path_style: bool) -> S3Config {
    S3Config {
        endpoint: Some("http://localhost:3900".to_owned()),
        public_endpoint: Some("https://objects.example.org".to_owned()),
        region: "garage".to_owned(),
        bucket: "films".to_owned(),
        path_style,
        allow_http: true,
        credentials: Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: SECRET.to_owned(),
            session_token: None,
        },
        retries: Retries::default(),
    }
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The signature that AWS Signature Version 4 gives a link, computed from its text alone.
fn signature_of(method: &str, link: &str) -> String {
    let (address, query) = link.split_once('?').unwrap();
    let (host, path) = address.split_once("://").unwrap().1.split_once('/').unwrap();
    let mut fields: Vec<&str> = query.split('&').filter(|field| !field.starts_with("X-Amz-Signature=")).collect();
    fields.sort_unstable();
    let value = |name: &str| {
        let field = fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap();
        percent_decode_str(field).decode_utf8().unwrap().into_owned()
    };
    assert_eq!(value("X-Amz-SignedHeaders"), "host");
    // Each field in its one canonical form, which is also what a strict server compares with.
    let fields: Vec<String> = fields
        .iter()
        .map(|field| {
            let (name, value) = field.split_once('=').unwrap();
            let value = percent_decode_str(value).decode_utf8().unwrap();
            format!("{name}={}", utf8_percent_encode(&value, STRICT))
        })
        .collect();
    let request = format!("{method}\n/{path}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", fields.join("&"));
    let credential = value("X-Amz-Credential");
    let scope = credential.split_once('/').unwrap().1;
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", value("X-Amz-Date"), hex(&Sha256::digest(request)));
    let secret = format!("AWS4{SECRET}").into_bytes();
    let key = scope.split('/').fold(secret, |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, text.as_bytes()))
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The example of "Authenticating Requests: Using Query Parameters" in the S3 API reference.
#[test]
fn the_test_signs_as_amazon_says() {
    let link = "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=x";
    assert_eq!(signature_of("GET", link), "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

#[tokio::test]
async fn a_buckets_link_is_signed_as_amazon_says() {
    for (path_style, base) in
        [(true, "https://objects.example.org/films/"), (false, "https://films.objects.example.org/")]
    {
        let store = Store::open(&StoreConfig::S3(Box::new(bucket(path_style)))).unwrap();
        for text in NASTY.iter().map(ToString::to_string).chain(long_keys()) {
            let key = video(&text).source();
            for (access, method) in [(Access::Upload, "PUT"), (Access::Download, "GET")] {
                let link = store.link(&key, access, SystemTime::now() + 48 * HOUR, "").await.unwrap();
                let path = link.strip_prefix(base).expect(base).split_once('?').unwrap().0;
                assert_eq!(percent_decode_str(path).decode_utf8().unwrap(), text);
                assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte)), "{path}");
                let signature = link.split_once("X-Amz-Signature=").unwrap().1;
                assert_eq!(signature_of(method, &link), signature, "{link}");
                let field =
                    link.split(['?', '&']).find_map(|field| field.strip_prefix("response-content-disposition="));
                let disposition = field.map(|field| percent_decode_str(field).decode_utf8().unwrap().into_owned());
                assert_eq!(disposition, (access == Access::Download).then(|| attachment(key.video().file_name())));
                let expires = link.split_once("X-Amz-Expires=").unwrap().1.split('&').next().unwrap();
                assert!((48 * 3600 - 60..=48 * 3600).contains(&expires.parse::<u64>().unwrap()), "{expires}");
            }
        }
    }
}

#[tokio::test]
async fn a_buckets_link_holds_for_a_week_at_most() {
    let store = Store::open(&StoreConfig::S3(Box::new(bucket(true)))).unwrap();
    let link = store.link(&video("a").source(), Access::Upload, SystemTime::now() + 24 * 8 * HOUR, "").await;
    assert!(matches!(link, Err(StoreError::Setting { .. })), "{link:?}");
}

#[test]
fn settings_are_checked_and_secrets_are_not_shown() {
    let wrong = |change: fn(&mut S3Config)| {
        let mut config = bucket(true);
        change(&mut config);
        let error = Store::open(&StoreConfig::S3(Box::new(config))).expect_err("it makes no sense");
        let text = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Setting { .. }) && !text.contains("secret-word"), "{text}");
        text
    };
    wrong(|config| config.allow_http = false);
    wrong(|config| config.endpoint = Some("127.0.0.1:3900".to_owned()));
    wrong(|config| config.endpoint = Some("ftp://example.org".to_owned()));
    wrong(|config| config.endpoint = Some("https://me:secret-word@example.org".to_owned()));
    wrong(|config| config.public_endpoint = Some("https://example.org/?a=secret-word".to_owned()));
    wrong(|config| {
        (config.path_style, config.endpoint) = (false, Some("http://127.0.0.1:3900".to_owned()));
    });
    wrong(|config| config.bucket = "a/b".to_owned());
    wrong(|config| config.bucket = String::new());
    wrong(|config| config.region = String::new());
    wrong(|config| config.credentials.secret_key = "secret-word\n".to_owned());
    wrong(|config| config.credentials.session_token = Some("secret-word with a space".to_owned()));
    let store = Store::open(&StoreConfig::S3(Box::new(bucket(true)))).unwrap();
    assert!(!format!("{:?} {store:?}", bucket(true)).contains(SECRET));
    let folder = tempfile::tempdir().unwrap();
    let secret = Signer::open(&folder.path().join("secret")).unwrap();
    assert_eq!(format!("{secret:?}"), "Signer(…)");
}
