//! Back-ends.

use downlink_auth::SasToken;

use super::{Authenticator, Cause, Principal, Refusal, expiry};

/// How a bearer token begins, in any letter case.
const BEARER: &str = "Bearer ";

/// The token after the word `Bearer`, if that is how `text` begins.
pub(super) fn bearer_token(text: &str) -> Option<&str> {
    let (word, token) = text.split_at_checked(BEARER.len())?;
    word.eq_ignore_ascii_case(BEARER)
        .then(|| token.trim_ascii())
}

impl Authenticator {
    /// Checks the credential of a back-end: a token of a policy, or one of an issuer behind the word `Bearer`. What it
    /// may do is asked by [`Authenticator::authorize`].
    ///
    /// # Errors
    /// [`Refusal`], [`RefusalKind::Unauthorized`](super::RefusalKind::Unauthorized) or
    /// [`RefusalKind::Unavailable`](super::RefusalKind::Unavailable).
    pub async fn service(&self, text: &str) -> Result<Principal, Refusal> {
        if let Some(token) = bearer_token(text) {
            return self.bearer(token).await;
        }
        if text.is_empty() {
            return Err(Refusal::of(Cause::NoCredential));
        }
        let token = SasToken::parse(text).map_err(Refusal::from)?;
        let policy = token.policy().ok_or(Refusal::of(Cause::NoPolicy))?;
        self.policy_principal(&token, policy)
    }

    async fn bearer(&self, token: &str) -> Result<Principal, Refusal> {
        let bearer = self.issuers.verify(token, self.now_seconds()).await?;
        Ok(Principal::of_bearer(bearer))
    }

    /// Checks a token of the policy that it names: signature, hub and age.
    pub(super) fn policy_principal(
        &self,
        token: &SasToken<'_>,
        name: &str,
    ) -> Result<Principal, Refusal> {
        let view = self.view()?;
        let known = view.policy(name);
        let keys = known.map(|known| known.keys());
        let keys = keys.as_ref().map_or(&[][..], |keys| keys);
        let now = self.now_seconds();
        let verified = token.verify_for_hub(&self.host_names(), keys, now);
        let known = known.ok_or(Refusal::of(Cause::UnknownPolicy))?;
        let (key, scope) = verified.map_err(Refusal::from)?;
        if self.sas.is_policy_off {
            return Err(Refusal::of(Cause::SasSwitchedOff));
        }
        Ok(Principal::of_policy(
            known,
            key,
            scope,
            token.scope(),
            expiry(token),
        ))
    }
}
