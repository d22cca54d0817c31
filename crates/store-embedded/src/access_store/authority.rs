//! Certificate authorities put and deleted.

use async_trait::async_trait;
use downlink_domain::authority::{CertificateAuthority, MAX_CERTIFICATE_BYTES, Possession};
use downlink_domain::device::IfMatch;
use downlink_ports::{AccessError, StoreError};

use super::read::authorities;
use super::write::{Order, conclude};
use crate::error::store_error;
use crate::fields::stored;
use crate::writer::{Scope, Work};

const INSERT: &str = include_str!("../../queries/insert_authority.sql");
const UPDATE: &str = include_str!("../../queries/update_authority.sql");

pub(super) struct PutAuthority {
    pub(super) order: Order,
    pub(super) authority: CertificateAuthority,
}

#[async_trait]
impl Work for PutAuthority {
    type Answer = Result<CertificateAuthority, AccessError>;

    fn bytes(&self) -> usize {
        MAX_CERTIFICATE_BYTES
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let Order { hub, if_match, .. } = &self.order;
        let desk = match self.order.desk(scope).await? {
            Ok(desk) => desk,
            Err(error) => return Ok(Err(error)),
        };
        let authorities = authorities(scope.connection, hub).await?;
        let decided = desk.put_authority(&authorities, self.authority, if_match);
        let (authority, event) = match decided {
            Ok(decided) => decided,
            Err(error) => return Ok(Err(error)),
        };
        let (is_verified, code) = match &authority.possession {
            Possession::Unverified => (false, None),
            Possession::Challenged { code } => (false, Some(code.as_str())),
            Possession::Verified => (true, None),
        };
        let is_new = *if_match == IfMatch::Absent;
        sqlx::query(if is_new { INSERT } else { UPDATE })
            .bind(hub.as_str())
            .bind(&authority.name)
            .bind(&authority.certificate[..])
            .bind(&authority.subject)
            .bind(&authority.thumbprint)
            .bind(authority.not_before.as_millis())
            .bind(authority.not_after.as_millis())
            .bind(is_verified)
            .bind(code)
            .bind(stored(authority.etag))
            .bind(authority.created_at.as_millis())
            .bind(authority.updated_at.as_millis())
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        conclude(scope, &desk, event).await?;
        Ok(Ok(authority))
    }
}

pub(super) struct DeleteAuthority {
    pub(super) order: Order,
    pub(super) name: String,
}

#[async_trait]
impl Work for DeleteAuthority {
    type Answer = Result<(), AccessError>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let Order { hub, if_match, .. } = &self.order;
        let desk = match self.order.desk(scope).await? {
            Ok(desk) => desk,
            Err(error) => return Ok(Err(error)),
        };
        let authorities = authorities(scope.connection, hub).await?;
        let event = match desk.delete_authority(&authorities, &self.name, if_match) {
            Ok(event) => event,
            Err(error) => return Ok(Err(error)),
        };
        sqlx::query(include_str!("../../queries/delete_authority.sql"))
            .bind(hub.as_str())
            .bind(&self.name)
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        conclude(scope, &desk, event).await?;
        Ok(Ok(()))
    }
}
