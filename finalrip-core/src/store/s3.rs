//! Objects in a bucket of S3, or of what speaks its protocol.
//!
//! What `object_store` cannot do is done by requests that it signs: listing with names that XML would change (it reads
//! names without their spaces at either end), and listing unfinished uploads.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer, Url};
use object_store::{ClientOptions, Error, GetResult, MultipartId, ObjectMeta, PutPayload, Result, RetryConfig};

use super::VideoKey;
use super::config::S3Config;
use super::error::{Operation, StoreError, StoreResult};
use super::listing::{self, Page};
use super::objects::{Generic, Objects, Parts, Unfinished};
use super::sign::Access;

/// How long our own signed requests hold.
const OWN_REQUEST: Duration = Duration::from_secs(300);

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    objects: Generic<AmazonS3>,
    /// Signs links with the address that clients know.
    public: AmazonS3,
    http: reqwest::Client,
}

impl Bucket {
    /// Checks the settings. Nothing is sent yet.
    pub(super) fn open(config: &S3Config) -> StoreResult<Self> {
        config.check()?;
        let failed = |source| StoreError::from_backend(Operation::Open, &config.bucket, 1, source);
        let http = client(config.allow_http, config.retries.time_out)
            .map_err(|source| failed(Error::Generic { store: "S3", source }))?;
        let open = |endpoint: Option<&String>| {
            let address = endpoint.map(|endpoint| config.address(endpoint)).transpose()?;
            build(config, address, http.clone()).map_err(failed)
        };
        let objects = open(config.endpoint.as_ref())?;
        let public = open(config.public_endpoint.as_ref().or(config.endpoint.as_ref()))?;
        Ok(Self { objects: Generic(objects), public, http })
    }

    /// A link to the object, signed as S3 does it.
    pub(super) async fn link(&self, access: Access, path: &Path, valid: Duration, disposition: &str) -> Result<Url> {
        let (method, options) = match access {
            Access::Upload => (Method::PUT, SignedUrlOptions::default()),
            Access::Download => {
                let query = [("response-content-disposition", disposition)];
                (Method::GET, SignedUrlOptions::default().with_query(query))
            }
        };
        self.public.signed_url_opts(method, path, valid, &options).await
    }

    /// One page of a list, read by `parse`.
    async fn page<T>(&self, query: Vec<(&str, String)>, parse: fn(&[u8]) -> Result<Page<T>>) -> Result<Page<T>> {
        let options = SignedUrlOptions::default().with_query(query);
        let url = self.objects.0.signed_url_opts(Method::GET, &Path::ROOT, OWN_REQUEST, &options).await?;
        // The address holds the signature: it stays out of messages.
        let failed = |error: reqwest::Error| Error::Generic { store: "S3", source: error.without_url().into() };
        let answer = self.http.get(url).send().await.map_err(failed)?;
        let (status, body) = (answer.status(), answer.bytes().await.map_err(failed)?);
        if status.is_success() {
            return parse(&body);
        }
        let source = format!("{status}: {}", listing::message(&body)).into();
        let path = String::new();
        Err(match status.as_u16() {
            401 | 403 => Error::PermissionDenied { path, source },
            404 => Error::NotFound { path, source },
            400..=499 if status.as_u16() != 429 => Error::NotSupported { source },
            _ => Error::Generic { store: "S3", source },
        })
    }

    /// All pages of a list.
    async fn pages<T>(&self, query: &[(&'static str, String)], parse: fn(&[u8]) -> Result<Page<T>>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut next = Vec::new();
        loop {
            let query = query.iter().cloned().chain(next).collect();
            let page = self.page(query, parse).await?;
            all.extend(page.entries);
            if page.next.is_empty() {
                return Ok(all);
            }
            next = page.next;
        }
    }
}

#[async_trait]
impl Objects for Bucket {
    fn parts(&self) -> Parts {
        self.objects.parts()
    }

    async fn head(&self, path: &Path) -> Result<ObjectMeta> {
        self.objects.head(path).await
    }

    async fn get(&self, path: &Path, range: Range<u64>, e_tag: Option<String>) -> Result<GetResult> {
        self.objects.get(path, range, e_tag).await
    }

    async fn put(&self, path: &Path, content: PutPayload) -> Result<()> {
        self.objects.put(path, content).await
    }

    async fn begin(&self, path: &Path) -> Result<MultipartId> {
        self.objects.begin(path).await
    }

    async fn part(&self, path: &Path, upload: &MultipartId, index: usize, content: PutPayload) -> Result<PartId> {
        self.objects.part(path, upload, index, content).await
    }

    async fn complete(&self, path: &Path, upload: &MultipartId, parts: Vec<PartId>) -> Result<()> {
        self.objects.complete(path, upload, parts).await
    }

    async fn abort(&self, path: &Path, upload: &MultipartId) -> Result<()> {
        self.objects.abort(path, upload).await
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.objects.delete(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let query = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)];
        self.pages(&query.map(|(name, value)| (name, value.to_owned())), listing::objects).await
    }

    async fn unfinished(&self) -> Result<Vec<Unfinished>> {
        let query = [("uploads", String::new()), ("encoding-type", "url".to_owned())];
        let found = self.pages(&query, listing::uploads).await?;
        // Sources are put in one piece: of other uploads nothing is known.
        let of_task =
            |upload: &Unfinished| VideoKey::new(upload.path.as_ref()).is_ok_and(|key| key.reserved_for().is_some());
        Ok(found.into_iter().filter(of_task).collect())
    }
}

fn build(config: &S3Config, address: Option<String>, http: reqwest::Client) -> Result<AmazonS3> {
    // One place tries again, and it is not this one: see `retry`.
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_region(&config.region)
        .with_bucket_name(&config.bucket)
        .with_virtual_hosted_style_request(!config.path_style)
        .with_access_key_id(&config.credentials.access_key)
        .with_secret_access_key(&config.credentials.secret_key)
        // Deleting many objects in one request is what compatible stores lack most often.
        .with_disable_bulk_delete(true)
        .with_retry(once)
        .with_http_connector(Connector(http));
    if let Some(token) = &config.credentials.session_token {
        builder = builder.with_token(token);
    }
    if let Some(address) = address {
        builder = builder.with_endpoint(address);
    }
    builder.build()
}

/// A client with its own TLS settings: the process-wide ones of rustls are the program's, not a library's.
fn client(
    allow_http: bool,
    time_out: Duration,
) -> std::result::Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots())
        .with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(!allow_http)
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(time_out)
        .user_agent(concat!("finalrip/", env!("CARGO_PKG_VERSION")));
    Ok(builder.build()?)
}

/// The system's certificate authorities, which know those of a company too; Mozilla's where the system has none.
fn roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(added, ignored, "the system's certificate authorities");
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Gives `object_store` our client.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
