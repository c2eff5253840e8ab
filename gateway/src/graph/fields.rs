//! Which `fields` a read may name, and of which figures a list may give a `summary`. Expansion braces would read other nodes through one path, so a value is only ever a list
//! of these words.

use curfew_policies::shown;

use super::path::QueryError;

/// Of a phone number.
pub const NUMBER: &[&str] = &[
    "account_mode",
    "certificate",
    "code_verification_status",
    "conversational_automation",
    "country_code",
    "country_dial_code",
    "display_phone_number",
    "eligibility_for_api_business_global_search",
    "health_status",
    "host_platform",
    "id",
    "is_official_business_account",
    "is_on_biz_app",
    "is_pin_enabled",
    "is_preverified_number",
    "last_onboarded_time",
    "messaging_limit_tier",
    "name_status",
    "new_certificate",
    "new_name_status",
    "platform_type",
    "quality_rating",
    "quality_score",
    "search_visibility",
    "status",
    "throughput",
    "username",
    "verified_name",
    "webhook_configuration",
    "whatsapp_business_manager_messaging_limit",
];

/// Of a number's settings. SIP passwords come only with `include_sip_credentials`, which is no field.
pub const SETTINGS: &[&str] = &[
    "calling",
    "payload_encryption",
    "storage_configuration",
    "user_identity_change",
];

/// Of a business account. `subscribed_apps` is an edge with pages of its own, whose links are led back like any other.
pub const ACCOUNT: &[&str] = &[
    "account_review_status",
    "auth_international_rate_eligibility",
    "business_verification_status",
    "country",
    "currency",
    "disable_marketing_messages_on_cloud_api",
    "health_status",
    "id",
    "is_enabled_for_insights",
    "marketing_messages_lite_api_status",
    "marketing_messages_onboarding_status",
    "message_template_namespace",
    "name",
    "on_behalf_of_business_info",
    "owner_business_info",
    "ownership_type",
    "primary_business_location",
    "status",
    "subscribed_apps",
    "timezone_id",
    "whatsapp_business_manager_messaging_limit",
];

/// Of a template. `components` is static text, which is in scope of a storage mode but belongs to the account.
pub const TEMPLATE: &[&str] = &[
    "category",
    "components",
    "correct_category",
    "cta_url_link_tracking_opted_out",
    "degrees_of_freedom_spec",
    "id",
    "language",
    "library_template_name",
    "message_send_ttl_seconds",
    "name",
    "parameter_format",
    "previous_category",
    "quality_score",
    "rejected_reason",
    "status",
    "sub_category",
];

/// Of a template list's `summary`.
pub const TEMPLATE_SUMMARY: &[&str] = &[
    "are_translations_complete",
    "message_template_count",
    "message_template_limit",
    "total_count",
];

/// Of a business profile.
pub const BUSINESS_PROFILE: &[&str] = &[
    "about",
    "address",
    "description",
    "email",
    "messaging_product",
    "profile_picture_url",
    "vertical",
    "websites",
];

/// Of commerce settings.
pub const COMMERCE_SETTINGS: &[&str] = &["catalog_id", "id", "is_cart_enabled", "is_catalog_visible"];

/// Of a QR code.
pub const QR_CODE: &[&str] = &["code", "deep_link_url", "prefilled_message", "qr_image_url"];

/// Of a Flow.
pub const FLOW: &[&str] = &[
    "categories",
    "data_api_version",
    "endpoint_uri",
    "health_status",
    "id",
    "json_version",
    "name",
    "status",
    "validation_errors",
];

/// Of a group.
pub const GROUP: &[&str] = &[
    "creation_timestamp",
    "description",
    "id",
    "join_approval_mode",
    "participants",
    "subject",
    "suspended",
    "total_participant_count",
];

/// Checks the value of `fields`, or of another parameter that is a list of words, against an allow-list.
///
/// # Errors
///
/// When it names anything else, the same field twice, or uses the syntax of field expansion.
pub fn check(parameter: &'static str, value: &str, known: &'static [&'static str]) -> Result<(), QueryError> {
    let mut seen = Vec::new();
    for field in value.split(',') {
        if !known.contains(&field) || seen.contains(&field) {
            return Err(QueryError::Fields {
                parameter,
                came: shown(value).into_owned(),
                known: known.join(", "),
            });
        }
        seen.push(field);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_published_sdks_ask_for_is_known() {
        // As pywa 4.5 writes them.
        for (value, known) in [
            (
                "id,verified_name,display_phone_number,conversational_automation,status,quality_rating,quality_score,\
                 webhook_configuration,name_status,new_name_status,code_verification_status,account_mode,is_on_biz_app,\
                 is_official_business_account,is_pin_enabled,is_preverified_number,search_visibility,platform_type,\
                 throughput,eligibility_for_api_business_global_search,health_status,certificate,new_certificate,\
                 last_onboarded_time,country_code,country_dial_code,whatsapp_business_manager_messaging_limit",
                NUMBER,
            ),
            ("calling,storage_configuration,user_identity_change", SETTINGS),
            (
                "about,address,vertical,description,email,profile_picture_url,websites",
                BUSINESS_PROFILE,
            ),
            (
                "id,name,language,category,status,components,parameter_format,message_send_ttl_seconds,correct_category,\
                 previous_category,rejected_reason,library_template_name,quality_score,cta_url_link_tracking_opted_out,\
                 sub_category,degrees_of_freedom_spec",
                TEMPLATE,
            ),
            (
                "total_count,message_template_count,message_template_limit,are_translations_complete",
                TEMPLATE_SUMMARY,
            ),
            (
                "id,name,timezone_id,message_template_namespace,status,business_verification_status,\
                 is_enabled_for_insights,marketing_messages_lite_api_status,marketing_messages_onboarding_status,\
                 on_behalf_of_business_info,ownership_type,health_status,currency,country,\
                 owner_business_info,account_review_status,disable_marketing_messages_on_cloud_api,subscribed_apps",
                ACCOUNT,
            ),
            ("code,prefilled_message,deep_link_url", QR_CODE),
            ("catalog_id,is_catalog_visible,is_cart_enabled", COMMERCE_SETTINGS),
        ] {
            assert_eq!(check("fields", value, known), Ok(()));
        }
    }

    #[test]
    fn a_value_is_words_of_the_list_each_once() {
        for value in [
            "",
            "id,",
            "id,id",
            "id, status",
            "ID",
            "media",
            "subscribed_apps{id}",
            "subscribed_apps.limit(1)",
        ] {
            let refused = check("fields", value, ACCOUNT).unwrap_err().to_string();
            assert!(
                refused.starts_with("fields may name account_review_status, "),
                "{refused}"
            );
        }
    }
}
