//! An entry of a log.

use sea_orm::entity::prelude::{
    ActiveModelBehavior, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait,
    EnumIter, PrimaryKeyTrait,
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub conversation_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub sender_id: i64,
    pub kind: String,
    pub message_key: Option<Vec<u8>>,
    pub digest: Option<Vec<u8>>,
    pub body: Option<String>,
    pub meta: Option<String>,
    pub reply_to: Option<i64>,
    pub target: Option<i64>,
    pub subject_id: Option<i64>,
    pub role: Option<String>,
    pub name: Option<String>,
    pub join_policy: Option<String>,
    pub edited: bool,
    pub recalled: bool,
    pub change_seq: Option<i64>,
    pub change_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
