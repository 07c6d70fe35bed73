//! TLS to a server: the modes of libpq and MySQL, with the certificates that the system trusts.
//!
//! | libpq | MySQL | encrypts | the server's certificate |
//! | --- | --- | --- | --- |
//! | `disable` | `DISABLED` | no | |
//! | `prefer` (default) | `PREFERRED` | if the server does | is not looked at |
//! | `require` | `REQUIRED` | yes | is not looked at |
//! | `verify-ca` | `VERIFY_CA` | yes | must be signed by an authority that is trusted |
//! | `verify-full` | `VERIFY_IDENTITY` | yes | and must be that of the host |
//!
//! `sslrootcert` and `ssl-ca` name the file of the authorities that are trusted in place of the
//! system's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mysql_async::SslOpts;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};

use crate::error::{Context, Error, Result};

/// What libpq calls the modes.
pub(super) const OF_LIBPQ: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];
/// What the programs of MySQL call them.
pub(super) const OF_MYSQL: [&str; 5] = [
    "DISABLED",
    "PREFERRED",
    "REQUIRED",
    "VERIFY_CA",
    "VERIFY_IDENTITY",
];
/// The modes in the order of their names.
const MODES: [Mode; 5] = [
    Mode::Disable,
    Mode::Prefer,
    Mode::Require,
    Mode::VerifyAuthority,
    Mode::VerifyHost,
];

/// What is asked of the encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyAuthority,
    VerifyHost,
}

/// The encryption of a connection.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) mode: Mode,
    /// The file of the authorities that are trusted, if not the system's.
    authorities: Option<PathBuf>,
}

impl Tls {
    /// The encryption of a mode that is called as one of `names`; `option` tells it.
    ///
    /// # Errors
    /// A usage error for a mode that is unknown.
    pub(super) fn new(
        option: &str,
        names: [&str; 5],
        mode: Option<&str>,
        authorities: Option<String>,
    ) -> Result<Self> {
        let mode = match mode {
            None => Mode::Prefer,
            Some(mode) => {
                let at = names
                    .iter()
                    .position(|name| name.eq_ignore_ascii_case(mode));
                at.map(|at| MODES[at]).ok_or_else(|| {
                    let unknown = Error::usage(format!("{option} '{mode}' is unknown"));
                    let otherwise = || format!("the modes are {}", names.join(", "));
                    unknown.hint_nearest(mode, names, otherwise)
                })?
            }
        };
        let authorities = authorities.filter(|file| file != "system");
        Ok(Tls {
            mode,
            authorities: authorities.map(PathBuf::from),
        })
    }

    /// The configuration of a client that connects so.
    ///
    /// # Errors
    /// A failure to read the certificates of the authorities.
    pub(super) fn client(&self) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if self.mode < Mode::VerifyAuthority {
            Arc::new(Unverified(provider.clone()))
        } else {
            let authorities = Arc::new(self.authorities()?);
            let verifier =
                WebPkiServerVerifier::builder_with_provider(authorities, provider.clone()).build();
            let verifier = verifier.io_context(|| "no authority is trusted".into())?;
            match self.mode {
                Mode::VerifyAuthority => Arc::new(OfAnyHost(verifier)),
                _ => verifier,
            }
        };
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .internal_context(|| "TLS has no versions".into())?;
        let verified = versions
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(verified.with_no_client_auth())
    }

    /// The same for the driver of MySQL. If there is a `name`, the certificate must be that of this
    /// host, and not of the one that is connected to.
    ///
    /// # Errors
    /// A failure to read the certificates of the authorities.
    pub(super) fn of_mysql(&self, name: Option<String>) -> Result<SslOpts> {
        if self.mode < Mode::VerifyAuthority {
            return Ok(SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true));
        }
        // The driver trusts none if it cannot parse one.
        let mut store = RootCertStore::empty();
        let certificates = self.certificates()?.into_iter();
        let certificates =
            certificates.filter(|certificate| store.add(certificate.clone()).is_ok());
        let certificates = certificates.map(|certificate| certificate.to_vec().into());
        let options = SslOpts::default()
            .with_disable_built_in_roots(true)
            .with_root_certs(certificates.collect());
        Ok(match name {
            Some(name) => options.with_danger_tls_hostname_override(Some(name)),
            None => options,
        })
    }

    /// The authorities that are trusted.
    fn authorities(&self) -> Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates()?);
        Ok(store)
    }

    /// Their certificates.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        match &self.authorities {
            Some(file) => certificates_in(file),
            None => Ok(rustls_native_certs::load_native_certs().certs),
        }
    }
}

/// The first name of a certificate that a trusted authority signed, if only for its names it is not
/// that of the host.
pub(super) fn name_of_another(error: &TlsError) -> Option<String> {
    let TlsError::InvalidCertificate(CertificateError::NotValidForNameContext {
        presented, ..
    }) = error
    else {
        return None;
    };
    presented.iter().find_map(|name| {
        let name = name.strip_suffix(')')?;
        let host = name
            .strip_prefix("DnsName(\"")
            .and_then(|host| host.strip_suffix('"'));
        let host = host.or_else(|| name.strip_prefix("IpAddress("))?;
        // A name with a wildcard is that of many hosts.
        Some(host.replace('*', "any"))
    })
}

fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let reading = || format!("cannot read the certificates in '{}'", file.display());
    let certificates = CertificateDer::pem_file_iter(file).io_context(reading)?;
    certificates.collect::<Result<_, _>>().io_context(reading)
}

/// Takes every certificate: `prefer` and `require` only ask that the connection is encrypted.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes a certificate of any host that a trusted authority signed.
#[derive(Debug)]
struct OfAnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for OfAnyHost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified =
            self.0
                .verify_server_cert(certificate, intermediates, host, ocsp_response, now);
        match verified {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_one_of_libpq() {
        let mode = |text| Tls::new("sslmode", OF_LIBPQ, text, None).map(|tls| tls.mode);
        let of_mysql = Tls::new("ssl-mode", OF_MYSQL, Some("verify_identity"), None);
        assert_eq!(of_mysql.map(|tls| tls.mode).ok(), Some(Mode::VerifyHost));
        assert_eq!(mode(None).ok(), Some(Mode::Prefer));
        assert_eq!(mode(Some("verify-full")).ok(), Some(Mode::VerifyHost));
        let error = mode(Some("requires")).expect_err("unknown");
        assert_eq!(error.hints(), ["did you mean 'require'?"]);
    }

    #[test]
    fn a_certificate_of_another_host_tells_its_first_name() {
        let name = |presented: &[&str]| {
            name_of_another(&TlsError::InvalidCertificate(
                CertificateError::NotValidForNameContext {
                    expected: ServerName::try_from("h").expect("a name").to_owned(),
                    presented: presented.iter().map(|name| (*name).to_owned()).collect(),
                },
            ))
        };
        assert_eq!(
            name(&["DnsName(\"db.x\")", "IpAddress(1.2.3.4)"]),
            Some("db.x".into())
        );
        assert_eq!(
            name(&["DirectoryName", "DnsName(\"*.x\")"]),
            Some("any.x".into())
        );
        assert_eq!(name(&["IpAddress(1.2.3.4)"]), Some("1.2.3.4".into()));
        assert_eq!(name(&[]), None);
        assert_eq!(
            name_of_another(&TlsError::InvalidCertificate(
                CertificateError::UnknownIssuer
            )),
            None
        );
    }

    #[test]
    fn every_mode_makes_a_client() {
        let tls = |mode, file| Tls::new("sslmode", OF_LIBPQ, Some(mode), file).expect("a mode");
        for mode in OF_LIBPQ {
            let client = tls(mode, None).client();
            assert!(client.is_ok(), "{mode}: {:?}", client.err());
            assert!(tls(mode, None).of_mysql(None).is_ok(), "{mode}");
        }
        assert!(
            tls("verify-full", Some("/nothing.pem".into()))
                .client()
                .is_err()
        );
    }
}
