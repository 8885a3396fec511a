"""Who stands in for Twilio and for a model: for rehearsals and demos, and in tests. The service knows neither."""
