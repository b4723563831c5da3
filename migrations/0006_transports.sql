-- Other ways out than RabbitMQ.

-- What a message is filed under where it goes: a Kafka record's key, a job's name. None elsewhere.
alter table outbox add column key text;
