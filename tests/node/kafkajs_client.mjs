// The kafkajs client of the programs here: it logs to standard error, apart from the records.
import kafkajs from 'kafkajs';

const logCreator = () => ({ label, namespace, log }) => {
  console.error(`${label} ${namespace}: ${log.message}`);
};

export const kafka = (brokers) =>
  new kafkajs.Kafka({
    brokers: brokers.split(','),
    logLevel: kafkajs.logLevel.ERROR,
    logCreator,
    // Tests restart the broker: retry without limit.
    retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 1000 },
  });
