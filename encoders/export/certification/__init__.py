"""The certificate of an export: what is asked, compared and allowed."""
