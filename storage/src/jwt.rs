//! Tokens by which another service vouches for somebody: JSON Web Tokens (RFC 7519), signed (RFC 7515).
//!
//! `jsonwebtoken` reads and checks them; the cryptography is that of `ring`, which TLS brings anyway.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode};
use parlor_core::identity::Identity;
use parlor_core::name::Name;
use parlor_core::protocol::{ErrorCode, RequestError};
use parlor_core::secret::Secret;
use parlor_core::store::StoreFailure;
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};
use tracing::debug;

use crate::error::OpenError;

/// By how many seconds the clocks of the service and of this machine may differ.
const LEEWAY: u64 = 30;

/// The fewest bytes of a secret that both sides share (RFC 7518, section 3.2, for SHA-256).
const SECRET_BYTES: usize = 32;

/// Which tokens of another service are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtOptions {
    /// How they are signed; others are not looked at.
    pub algorithm: JwtAlgorithm,
    /// The service's public key in PEM; for `HS256`, `HS384` and `HS512` the secret that both sides
    /// share, at least 32 bytes.
    pub key: Secret,
    /// The service: what `iss` must be.
    pub issuer: String,
    /// This server: what `aud` must be, or have.
    pub audience: String,
    /// The claim whose text is the name that a new account gets, if nobody has it and it is a name.
    pub name_claim: String,
}

/// How a token is signed (RFC 7518, section 3.1; RFC 8037): one of [`Self::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwtAlgorithm(Algorithm);

/// It is no algorithm that tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", JwtAlgorithm::NAMES)]
pub struct UnknownAlgorithm;

/// Whom a token vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(crate) identity: Identity,
    pub(crate) name: Option<Name>,
}

/// Verifies tokens.
pub(crate) struct Jwt {
    key: DecodingKey,
    validation: Validation,
    issuer: String,
    name_claim: String,
}

impl JwtAlgorithm {
    /// Every algorithm, as a sentence lists them.
    pub const NAMES: &'static str =
        "EdDSA, ES256, ES384, RS256, RS384, RS512, PS256, PS384, PS512, HS256, HS384 or HS512";
}

impl FromStr for JwtAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        text.parse().map(Self).map_err(|_| UnknownAlgorithm)
    }
}

impl fmt::Display for JwtAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants are called as the standard calls them.
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Jwt {
    /// Reads the key.
    pub(crate) fn new(options: &JwtOptions) -> Result<Self, OpenError> {
        // Fails where the process has another one already, which serves as well.
        let _installed = PROVIDER.install_default();
        let JwtAlgorithm(algorithm) = options.algorithm;
        let key = options.key.expose();
        let key = match algorithm.family() {
            AlgorithmFamily::Hmac if key.len() < SECRET_BYTES => {
                return Err(OpenError::Jwt {
                    reason: format!("the secret has fewer than {SECRET_BYTES} bytes"),
                });
            }
            AlgorithmFamily::Hmac => Ok(DecodingKey::from_secret(key.as_bytes())),
            AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(key.as_bytes()),
            AlgorithmFamily::Ec => DecodingKey::from_ec_pem(key.as_bytes()),
            AlgorithmFamily::Ed => DecodingKey::from_ed_pem(key.as_bytes()),
        };
        let key = key.map_err(|error| OpenError::Jwt {
            reason: format!("the key is no public key in PEM for {algorithm:?}: {error}"),
        })?;
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&options.issuer]);
        validation.set_audience(&[&options.audience]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        Ok(Self {
            key,
            validation,
            issuer: options.issuer.clone(),
            name_claim: options.name_claim.clone(),
        })
    }

    /// Finds out for whom a token vouches.
    ///
    /// # Errors
    /// `token_expired` where only its time is over, otherwise `bad_credentials`.
    pub(crate) fn verify(&self, jwt: &Secret) -> Result<Vouched, StoreFailure> {
        self.read(jwt).map_err(|error| {
            // It says nothing of the token.
            debug!(reason = %error, "a token of another service is refused");
            let code = match error.kind() {
                ErrorKind::ExpiredSignature => ErrorCode::TokenExpired,
                _ => ErrorCode::BadCredentials,
            };
            StoreFailure::Refused(code.into())
        })
    }

    fn read(&self, jwt: &Secret) -> Result<Vouched, Error> {
        let token = decode::<Map<String, Value>>(jwt.expose(), &self.key, &self.validation)?;
        // What must be understood (RFC 7515, section 4.1.11) is not.
        if token.header.crit.is_some() {
            return Err(ErrorKind::InvalidToken.into());
        }
        let text = |claim: &str| token.claims.get(claim).and_then(Value::as_str);
        // The library takes a list of issuers for one of them.
        let issuer = text("iss").filter(|issuer| *issuer == self.issuer);
        let issuer = issuer.ok_or(ErrorKind::InvalidIssuer)?;
        let subject = text("sub").filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(ErrorKind::InvalidSubject)?;
        Ok(Vouched {
            identity: Identity::new(issuer, subject),
            name: text(&self.name_claim).and_then(|name| Name::new(name).ok()),
        })
    }
}

/// What a store says that believes no other service.
pub(crate) fn not_taken() -> StoreFailure {
    StoreFailure::Refused(RequestError::new(
        ErrorCode::BadRequest,
        "`jwt` is not taken by this server",
    ))
}

/// The cryptography of `ring`. Nothing is signed here.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Box::new(Ring {
            algorithm: *algorithm,
            key: key.try_get_as_bytes()?.to_vec(),
        }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Verifies signatures of one algorithm with one key.
struct Ring {
    algorithm: Algorithm,
    key: Vec<u8>,
}

impl Ring {
    fn public(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), ring::error::Unspecified> {
        UnparsedPublicKey::new(algorithm, &self.key).verify(message, signature)
    }

    fn shared(
        &self,
        algorithm: hmac::Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), ring::error::Unspecified> {
        hmac::verify(&hmac::Key::new(algorithm, &self.key), message, signature)
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match self.algorithm {
            Algorithm::HS256 => self.shared(hmac::HMAC_SHA256, message, signature),
            Algorithm::HS384 => self.shared(hmac::HMAC_SHA384, message, signature),
            Algorithm::HS512 => self.shared(hmac::HMAC_SHA512, message, signature),
            Algorithm::ES256 => self.public(&ECDSA_P256_SHA256_FIXED, message, signature),
            Algorithm::ES384 => self.public(&ECDSA_P384_SHA384_FIXED, message, signature),
            Algorithm::RS256 => self.public(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Algorithm::RS384 => self.public(&RSA_PKCS1_2048_8192_SHA384, message, signature),
            Algorithm::RS512 => self.public(&RSA_PKCS1_2048_8192_SHA512, message, signature),
            Algorithm::PS256 => self.public(&RSA_PSS_2048_8192_SHA256, message, signature),
            Algorithm::PS384 => self.public(&RSA_PSS_2048_8192_SHA384, message, signature),
            Algorithm::PS512 => self.public(&RSA_PSS_2048_8192_SHA512, message, signature),
            Algorithm::EdDSA => self.public(&ED25519, message, signature),
            // One that a later version of the library knows.
            _ => Err(ring::error::Unspecified),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests;
