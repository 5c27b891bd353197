//! An S3 server over a temporary folder: the crate `s3s-fs`, in this process.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

/// A running server. It stops with the runtime that started it.
pub struct S3 {
    _folder: tempfile::TempDir,
    credentials: tempfile::NamedTempFile,
    port: u16,
}

impl S3 {
    /// Name of the one bucket.
    pub const BUCKET: &str = "overread";
    /// Access key and secret.
    pub const CREDENTIALS: (&str, &str) = ("test-access", "test-secret");

    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(Self::BUCKET)).expect("a bucket");
        let files = s3s_fs::FileSystem::new(folder.path()).expect("a served folder");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(Self::CREDENTIALS.0, Self::CREDENTIALS.1));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        let credentials = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(credentials.path(), format!("{}\n{}\n", Self::CREDENTIALS.0, Self::CREDENTIALS.1))
            .expect("credentials");
        Self { _folder: folder, credentials, port }
    }

    /// Address of a prefix, as configuration has it.
    pub fn address(&self, prefix: &str) -> String {
        let file = self.credentials.path().display();
        format!(
            "s3://{}/{prefix}?endpoint=http://127.0.0.1:{}&region=us-east-1&credentials={file}",
            Self::BUCKET,
            self.port
        )
    }
}
