// kafkajs as every program here uses it: its log on the standard error, apart from the records.
import kafkajs from 'kafkajs';

const logCreator = () => ({ label, namespace, log }) => {
  console.error(`${label} ${namespace}: ${log.message}`);
};

export const kafka = (brokers) =>
  new kafkajs.Kafka({
    brokers: brokers.split(','),
    logLevel: kafkajs.logLevel.ERROR,
    logCreator,
    // A broker that is stopped and started again in a test is looked for as often as it takes.
    retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 1000 },
  });
